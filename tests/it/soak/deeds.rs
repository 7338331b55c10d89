//! What befalls a server as a whole, one row for each way; `listed` shows that none is missing. What a deed does it undoes.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::support::dice::Dice;
use crate::support::upstream::{Break, Greeting, Reason, TokenStyle, Upstream};
use crate::world::REPOSITORY;

use super::stage::{Scenery, Side, Ware};

/// One way to be in trouble for a while.
pub(super) struct Deed {
    /// What of the scripted upstream does it.
    pub(super) of: &'static str,
    /// What that looks like.
    pub(super) what: &'static str,
    does: Does,
}

#[derive(Clone, Copy)]
enum Does {
    Down,
    StopLink,
    SlowLink,
    Gate,
    Remove,
    BreakNext(Break),
    BreakAt(Break),
    Greet(Greeting),
    Revoke,
    AskForAnother,
    Restyle(fn(&mut TokenStyle)),
}

/// In their order, by which they are counted.
pub(super) const DEEDS: &[Deed] = &[
    Deed { of: "Upstream::down", what: "refused connections", does: Does::Down },
    Deed { of: "Upstream::stop_link", what: "a line that stands still", does: Does::StopLink },
    Deed { of: "Upstream::share_link", what: "a slow line", does: Does::SlowLink },
    Deed { of: "Upstream::gate", what: "a blob that does not come", does: Does::Gate },
    Deed { of: "Upstream::remove", what: "a blob that is gone", does: Does::Remove },
    Deed {
        of: "Break::Reset",
        what: "a stream that is refused",
        does: Does::BreakNext(Break::Reset(Reason::REFUSED_STREAM)),
    },
    Deed {
        of: "Break::GoAway",
        what: "a server that goes away",
        does: Does::BreakNext(Break::GoAway(Reason::ENHANCE_YOUR_CALM)),
    },
    Deed { of: "Break::Leave", what: "a server that takes no more", does: Does::BreakNext(Break::Leave) },
    Deed { of: "Break::Die", what: "a dead connection of HTTP/2", does: Does::BreakNext(Break::Die) },
    Deed {
        of: "Break::Reset",
        what: "a stream that is reset in a blob",
        does: Does::BreakAt(Break::Reset(Reason::INTERNAL_ERROR)),
    },
    Deed {
        of: "Break::GoAway",
        what: "a server that goes away in a blob",
        does: Does::BreakAt(Break::GoAway(Reason::NO_ERROR)),
    },
    Deed { of: "Break::Leave", what: "a server that leaves in a blob", does: Does::BreakAt(Break::Leave) },
    Deed { of: "Break::Die", what: "a connection that dies in a blob", does: Does::BreakAt(Break::Die) },
    Deed { of: "Greeting::Close", what: "closed at once", does: Does::Greet(Greeting::Close) },
    Deed { of: "Greeting::Leave", what: "closed in the handshake", does: Does::Greet(Greeting::Leave) },
    Deed {
        of: "Greeting::Silence",
        what: "a handshake that does not end",
        does: Does::Greet(Greeting::Silence),
    },
    Deed { of: "Greeting::Garbage", what: "garbage for a greeting", does: Does::Greet(Greeting::Garbage) },
    Deed { of: "Greeting::Stranger", what: "another's certificate", does: Does::Greet(Greeting::Stranger) },
    Deed { of: "Tokens::revoke", what: "revoked tokens", does: Does::Revoke },
    Deed { of: "Tokens::ask_for", what: "a password that does no more", does: Does::AskForAnother },
    Deed { of: "TokenStyle::token", what: "no token", does: Does::Restyle(|style| style.token = false) },
    Deed {
        of: "TokenStyle::access_token",
        what: "an access token alone",
        does: Does::Restyle(|style| (style.token, style.access_token) = (false, true)),
    },
    Deed {
        of: "TokenStyle::expires_in",
        what: "a token without a life",
        does: Does::Restyle(|style| style.expires_in = Some(0)),
    },
    Deed {
        of: "TokenStyle::issued_at",
        what: "a token of another age",
        does: Does::Restyle(|style| style.issued_at = Some("1999-01-01T00:00:00Z")),
    },
];

/// What was planned is waited for so long, and then given up.
const PLANNED: Duration = Duration::from_secs(4);

impl Deed {
    /// Whether it can befall this one.
    pub(super) fn fits(&self, side: &Side) -> bool {
        side.speaks_two || !matches!(self.does, Does::BreakNext(_) | Does::BreakAt(_))
    }

    /// Does it to one of these servers, for about so long, and undoes it. Returns how often it happened.
    pub(super) async fn done(&self, side: &Side, ware: &Ware, scenery: &Scenery, dice: &mut Dice) -> usize {
        let server = match dice.below(6) {
            0 => &side.realm,
            1 => &side.storage,
            _ => &side.endpoint,
        };
        let time = Duration::from_millis(100 + dice.below(1_200));
        let blob = dice.pick(&ware.image.layers);
        match self.does {
            Does::Down => {
                server.down().await;
                sleep(time).await;
                server.up().await;
            }
            Does::StopLink => {
                server.share_link(1 << 30);
                server.stop_link(true);
                sleep(time).await;
                server.stop_link(false);
                server.share_link(0);
            }
            Does::SlowLink => {
                server.share_link(300_000);
                sleep(time).await;
                server.share_link(0);
            }
            Does::Gate => {
                let gate = server.gate(&blob.digest);
                gate.allow(dice.below(blob.size()));
                sleep(time).await;
                gate.open();
            }
            Does::Remove => {
                scenery.lied_about(&blob.digest);
                side.endpoint.remove(REPOSITORY, &blob.digest);
                sleep(time).await;
                scenery.lied_about(&blob.digest);
                side.endpoint.push_blob(REPOSITORY, &blob);
            }
            Does::BreakNext(how) => {
                side.endpoint.break_next(how);
                return happened(&side.endpoint, 1).await;
            }
            Does::BreakAt(how) => {
                // Not all of it may be asked for now, or be asked for from here.
                for layer in &ware.image.layers {
                    for _ in 0..3 {
                        side.endpoint.break_at(&layer.digest, dice.below(layer.size()), how);
                    }
                }
                return happened(&side.endpoint, ware.image.layers.len() * 3).await;
            }
            Does::Greet(greeting) => {
                server.greet_next(greeting);
                return happened(server, 1).await;
            }
            Does::Revoke => {
                scenery.revoked();
                side.tokens.revoke();
            }
            Does::AskForAnother => {
                let (user, password) = side.login;
                scenery.revoked();
                side.tokens.revoke();
                side.tokens.ask_for(user, "another");
                sleep(time).await;
                side.tokens.ask_for(user, password);
            }
            Does::Restyle(change) => {
                scenery.revoked();
                side.tokens.restyle(change);
                side.tokens.revoke();
                sleep(time).await;
                side.tokens.restyle(|style| *style = side.style());
            }
        }
        1
    }
}

/// How much of what was planned has happened, after some of it has, or in a while.
async fn happened(server: &Upstream, planned: usize) -> usize {
    let begun = Instant::now();
    while server.planned() >= planned && begun.elapsed() < PLANNED {
        sleep(Duration::from_millis(50)).await;
    }
    planned.saturating_sub(server.forgive())
}
