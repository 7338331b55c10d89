//! How the mirror is, told to people and to whoever restarts it; and what shells and `man` are told of the command line.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::api::commands::{bad, good, pull, roadstead, text, with_an_image};
use crate::support::images::image;
use crate::support::mirror::{REGISTRY, Setup, Signal};
use crate::support::soon;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn health_is_an_exit_code_also_where_the_api_is_off() {
    let upstream = Upstream::start().await;
    for api in ["api = \"on\"", "api = \"off\""] {
        let mut mirror = Setup::of(&upstream).set("admin", api).spawn().await;
        let server = format!("http://{}", mirror.admin().unwrap());
        let env = [("ROADSTEAD_SERVER", server.as_str())];
        assert_eq!(good(&roadstead(&["health"], &env).await), "ready\n");
        assert_eq!(good(&roadstead(&["health", "--live", "--server", &server], &[]).await), "alive\n");
        mirror.signal(Signal::Terminate);
        mirror.ended().await;
        assert!(bad(&roadstead(&["health"], &env).await, 1).contains("no mirror answers at"));
    }
}

#[tokio::test]
async fn status_tells_what_was_served_what_was_fetched_and_what_was_saved() {
    let upstream = Upstream::start().await;
    let (mirror, image) = with_an_image(&upstream, "").await;
    pull(&mirror, "team/app", "1.0", &image).await;
    let server = format!("http://{}", mirror.admin().unwrap());
    let size: u64 = image.blobs().chain([&image.manifest]).map(|object| object.bytes.len() as u64).sum();
    // The last bodies are counted when their clients have them, or a moment later.
    let told = async {
        loop {
            let told = roadstead(&["status", "--json", "--server", &server], &[]).await;
            let status: Value = serde_json::from_str(good(&told)).unwrap();
            if status["traffic"]["sent_bytes"].as_u64() == Some(2 * size) {
                return status;
            }
        }
    };
    let status = soon("both pulls counted", told).await;
    let objects = image.blobs().count() as u64 + 1;
    let own = &status["upstreams"][0];
    for traffic in [&status["traffic"], &own["traffic"]] {
        assert_eq!((&traffic["requests"], &traffic["hits"]), (&(2 * objects).into(), &objects.into()));
        assert_eq!((&traffic["fetched_bytes"], &traffic["saved_bytes"]), (&size.into(), &size.into()));
    }
    assert_eq!((&own["name"], &own["contact"]), (&REGISTRY.into(), &"open".into()));
    let shown = roadstead(&["status", "--server", &server], &[]).await;
    let shown = good(&shown);
    let requests = format!("{} requests, 50 % from here", 2 * objects);
    for part in [", serving for ", &requests, REGISTRY, " ok"] {
        assert!(shown.contains(part), "no {part:?} in:\n{shown}");
    }
}

#[tokio::test]
async fn what_an_upstream_that_is_not_asked_cannot_give_is_no_hit() {
    let upstream = Upstream::start().await;
    let mirror = Setup::with(&upstream, "mode = \"offline\"").spawn().await;
    let server = format!("http://{}", mirror.admin().unwrap());
    mirror.get("/v2/team/app/manifests/1.0").send().await.expect_error(503, "UNAVAILABLE");
    // It is counted a moment after the answer.
    let counted = async {
        loop {
            let metrics = mirror.admin_get("/metrics").send().await.expect(200);
            let told = roadstead(&["status", "--json", "--server", &server], &[]).await;
            let status: Value = serde_json::from_str(good(&told)).unwrap();
            let traffic = &status["traffic"];
            let offline = format!("roadstead_requests_total{{upstream={REGISTRY:?},outcome=\"offline\"}} 1");
            if text(&metrics.body).contains(&offline) && traffic["hits"] == 0 && traffic["saved_bytes"] == 0 {
                return;
            }
        }
    };
    soon("a miss that is counted as none", counted).await;
}

#[tokio::test]
async fn status_shows_a_transfer_under_way_with_how_far_it_is_and_goes_on_showing() {
    let upstream = Upstream::start().await;
    let image = image(1, &[4_000_000]);
    upstream.push("team/app", Some("1.0"), &image);
    let layer = &image.layers[0];
    let gate = upstream.gate(&layer.digest);
    gate.allow(1_000_000);
    let mirror = Setup::of(&upstream).spawn().await;
    mirror.get("/v2/team/app/manifests/1.0").send().await.expect(200);
    let body = mirror.get(&format!("/v2/team/app/blobs/{}", layer.digest)).open().await;
    let server = format!("http://{}", mirror.admin().unwrap());
    let mut watching = Command::new(env!("CARGO_BIN_EXE_roadstead"));
    watching.env_clear().args(["status", "--watch=1", "--json", "--server", &server]).kill_on_drop(true);
    let mut watching = watching.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let seen = async {
        let mut shown = 0;
        while shown < 2 {
            let line = lines.next_line().await.unwrap().expect("it goes on");
            let status: Value = serde_json::from_str(&line).unwrap();
            let fill = &status["fills"][0];
            if fill["present_bytes"].as_u64().is_some_and(|present| present > 0) {
                assert_eq!(
                    (&fill["digest"], &fill["size"]),
                    (&layer.digest.as_str().into(), &4_000_000.into())
                );
                assert_eq!((&fill["upstream"], &fill["readers"]), (&REGISTRY.into(), &1.into()));
                shown += 1;
            }
        }
    };
    soon("a transfer shown twice", seen).await;
    watching.kill().await.unwrap();
    gate.open();
    body.rest().await.expect_bytes(&layer.bytes);
}

#[tokio::test]
async fn a_bench_pulls_round_by_round_checks_what_comes_and_says_how_it_went() {
    let upstream = Upstream::start().await;
    let (mirror, image) = with_an_image(&upstream, "").await;
    let address = format!("http://{}", mirror.address());
    let name = format!("{REGISTRY}/team/app");
    let bench = async |arguments: &[&str]| {
        let all = [&["bench", "--mirror", &address, "--nodes", "3", "--rounds", "2"], arguments].concat();
        roadstead(&all, &[]).await
    };
    let told = bench(&["--image", &format!("{name}:1.0"), "--json"]).await;
    let report: Value = serde_json::from_str(good(&told)).unwrap();
    let size: u64 = image.blobs().chain([&image.manifest]).map(|object| object.bytes.len() as u64).sum();
    assert_eq!((&report["image"]["bytes"], &report["whole"]), (&size.into(), &true.into()));
    for round in report["rounds"].as_array().unwrap() {
        assert_eq!((&round["bytes"], &round["pulls"]["whole"]), (&(3 * size).into(), &3.into()));
        assert!(round["pull_ms"]["worst"].as_f64() > Some(0.0), "{round}");
    }
    let answers = &report["rounds"][1]["answers"];
    assert_eq!(answers["hit"], 3 * (2 + image.blobs().count()), "the second round is from here: {answers}");

    let table = bench(&["--image", &format!("{name}:1.0")]).await;
    // How far it is stands on standard error.
    assert!(
        table.status.success() && text(&table.stderr).contains("round 2 100 %"),
        "{}",
        text(&table.stderr)
    );
    assert!(text(&table.stdout).starts_with("3 nodes at once, "), "{}", text(&table.stdout));
    let nothing = bench(&["--image", &format!("{name}:2.0")]).await;
    let said = bad(&nothing, 1);
    assert!(said.contains("does not give") && said.contains("answered 404"), "{said}");
    let nowhere = roadstead(&["bench", "--image", &name, "--mirror", "mirror"], &[]).await;
    assert!(bad(&nowhere, 64).contains("it is no URL"));
}

#[tokio::test]
async fn shells_and_man_are_told_every_command() {
    let help = roadstead(&["--help"], &[]).await;
    let commands: Vec<String> = good(&help)
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next().map(str::to_owned))
        .filter(|command| command != "help")
        .collect();
    assert!(commands.iter().any(|command| command == "status"), "{commands:?}");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let told = roadstead(&["completions", shell], &[]).await;
        for command in &commands {
            assert!(good(&told).contains(command.as_str()), "{shell}: {command}");
        }
    }
    let whole = roadstead(&["man"], &[]).await;
    for command in &commands {
        // Dashes are not hyphens there.
        let name = format!("roadstead-{command}").replace('-', "\\-");
        assert!(good(&whole).contains(&name), "{command}");
        let page = roadstead(&["man", command], &[]).await;
        assert!(good(&page).contains(&name), "{}", text(&page.stdout));
    }
    assert!(bad(&roadstead(&["man", "sing"], &[]).await, 64).contains("no command sing"));
    assert_eq!(roadstead(&["completions", "tcsh"], &[]).await.status.code(), Some(64));
}
