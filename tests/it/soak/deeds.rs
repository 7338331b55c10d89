//! What befalls a server as a whole, one row for each way; `listed` shows that none is missing. What a deed does it undoes.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::support::dice::Dice;
use crate::support::upstream::{Break, Greeting, Reason, TokenStyle, Upstream};
use crate::world::REPOSITORY;

use super::player::Player;
use super::stage::{Registry, Scenery, Side, Ware};

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
    Swallow,
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
    Deed { of: "Upstream::swallow", what: "connections that nobody takes", does: Does::Swallow },
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

/// For what was planned so long is pulled, and then it is given up.
const PLANNED: Duration = Duration::from_secs(6);

/// Where something befalls somebody.
pub(super) struct Place<'a> {
    pub(super) registry: &'a Registry,
    pub(super) home: usize,
    pub(super) side: &'a Side,
    pub(super) scenery: &'a Scenery,
}

impl Deed {
    /// Whether it can befall this one.
    pub(super) fn fits(&self, side: &Side) -> bool {
        side.speaks_two || !matches!(self.does, Does::BreakNext(_) | Does::BreakAt(_))
    }

    /// Whether it lies in wait for a request, and so is only for who is asked.
    pub(super) fn is_planned(&self) -> bool {
        matches!(self.does, Does::BreakNext(_) | Does::BreakAt(_) | Does::Greet(_))
    }

    /// Does it to one of these servers, for about so long, and undoes it. What lies in wait is run into by this client, who
    /// pulls what is new. Returns how often it happened.
    pub(super) async fn done(&self, place: &Place<'_>, client: &mut Player<'_>) -> usize {
        let Place { side, scenery, .. } = *place;
        let endpoint = &side.endpoint;
        match self.does {
            Does::BreakNext(how) => {
                let arm = |_: &Ware, _: &mut Dice| {
                    endpoint.break_next(how);
                    1
                };
                return run_into(place, endpoint, client, arm).await;
            }
            Does::BreakAt(how) => {
                let arm = |ware: &Ware, dice: &mut Dice| {
                    for layer in &ware.image.layers {
                        endpoint.break_at(&layer.digest, dice.below(layer.size()), how);
                    }
                    ware.image.layers.len()
                };
                return run_into(place, endpoint, client, arm).await;
            }
            Does::Greet(greeting) => {
                let server = if client.dice.percent(25) { &side.realm } else { endpoint };
                let arm = |_: &Ware, _: &mut Dice| {
                    server.greet_next(greeting);
                    1
                };
                // There is a new connection only where none is left, and a new token only where none is good.
                server.down().await;
                server.up().await;
                scenery.revoked();
                side.tokens.revoke();
                return run_into(place, server, client, arm).await;
            }
            _ => {}
        }
        let Some(ware) = client.stage.newest(place.home) else { return 0 };
        let dice = &mut client.dice;
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
            Does::Swallow => {
                server.swallow().await;
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
            Does::BreakNext(_) | Does::BreakAt(_) | Does::Greet(_) => unreachable!("is run into"),
        }
        1
    }
}

/// Pulls one new ware after the other, each with something armed for it, until some of that has happened, or for a while.
/// Returns how much of it did.
async fn run_into(
    place: &Place<'_>,
    server: &Upstream,
    client: &mut Player<'_>,
    mut arm: impl FnMut(&Ware, &mut Dice) -> usize,
) -> usize {
    let mut armed = 0;
    let pulling = async {
        while server.planned() == armed {
            let ware = client.stage.order(place.home, &mut client.dice);
            armed += arm(&ware, &mut client.dice);
            client.pull(&ware, place.registry).await;
        }
    };
    let _or_late = timeout(PLANNED, pulling).await;
    armed.saturating_sub(server.forgive())
}
