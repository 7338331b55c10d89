//! What is rendered, for every way in which the chart is used.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::chart::{Chart, Manifests, ways};
use crate::schemas::Schemas;
use crate::{is_or_becomes, project};

#[test]
fn helm_finds_nothing_to_say_against_the_chart() {
    let Some(chart) = Chart::at_hand() else { return };
    for (way, values) in ways() {
        let values = values.display().to_string();
        let linted = chart.helm(&["lint", "--strict", "helm/roadstead", "--values", &values]);
        assert!(linted.status.success(), "{way}:\n{}", String::from_utf8_lossy(&linted.stdout));
    }
}

#[test]
fn the_manifests_are_those_that_were_looked_at() {
    let Some(chart) = Chart::at_hand() else { return };
    for (way, values) in ways() {
        let golden = project("tests/helm/golden").join(format!("{way}.yaml"));
        is_or_becomes(&golden, &chart.render(&values));
    }
}

#[test]
fn kubernetes_of_today_and_of_years_ago_knows_every_field() {
    let Some(chart) = Chart::at_hand() else { return };
    let rendered: BTreeMap<_, _> =
        ways().into_iter().map(|(way, values)| (way, chart.manifests(&values))).collect();
    for schemas in Schemas::all(&chart) {
        let Some(schemas) = schemas else { return };
        for (way, manifests) in &rendered {
            assert!(manifests.documents.len() >= 5, "{way}");
            for document in &manifests.documents {
                let wrong = schemas.against(document);
                assert!(wrong.is_empty(), "{way}, {}:\n  {}", schemas.name(), wrong.join("\n  "));
            }
        }
    }
}

#[test]
fn the_schemas_notice_what_is_wrong() {
    let Some(chart) = Chart::at_hand() else { return };
    let service = |field: &str, value: Value| {
        let mut service =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {}});
        service["spec"][field] = value;
        service
    };
    for schemas in Schemas::all(&chart) {
        let Some(schemas) = schemas else { return };
        assert!(schemas.against(&service("type", json!("NodePort"))).is_empty());
        for wrong in [
            service("typ", json!("NodePort")),
            service("ports", json!("5000")),
            service("ports", json!([{"name": "registry"}])),
            json!({"apiVersion": "v2", "kind": "Service"}),
        ] {
            assert_eq!(schemas.against(&wrong).len(), 1, "{}: {wrong}", schemas.name());
        }
    }
}

#[test]
fn pods_are_allowed_where_pod_security_is_restricted_but_for_a_port_of_the_node() {
    let Some(chart) = Chart::at_hand() else { return };
    for (way, values) in ways() {
        let manifests = chart.manifests(&values);
        assert!(manifests.pods.len() >= 2, "{way}");
        for pod in &manifests.pods {
            let expected: &[&str] = match (way.as_str(), pod.kind.as_str()) {
                ("host-port" | "tls-beside", "StatefulSet") => &["hostPort"],
                // It writes root's files, on the node.
                ("node-setup" | "node-setup-login", "DaemonSet") => {
                    &["restricted volume types", "runAsNonRoot != true", "runAsUser=0"]
                }
                _ => &[],
            };
            let mut against = pod.against.clone();
            against.sort();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(against, expected, "{way}: {} {}", pod.kind, pod.name);
        }
    }
}

/// What Pod Security does not ask, and what a mirror needs all the same.
#[test]
fn pods_have_no_token_no_variables_of_services_and_a_root_that_is_not_written() {
    let Some(chart) = Chart::at_hand() else { return };
    for (way, values) in ways() {
        let manifests = chart.manifests(&values);
        for spec in pods(&manifests) {
            assert_eq!(spec["automountServiceAccountToken"], false, "{way}");
            assert_eq!(spec["enableServiceLinks"], false, "{way}");
            for container in spec["containers"].as_array().unwrap() {
                assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{way}");
                assert!(container["resources"]["requests"]["memory"].is_string(), "{way}");
                assert!(container["resources"]["limits"]["cpu"].is_null(), "{way}: a throttled mirror");
            }
        }
    }
}

/// Names by which one object means another are equal, and mounts have their volumes.
#[test]
fn what_objects_say_of_one_another_is_so() {
    let Some(chart) = Chart::at_hand() else { return };
    for (way, values) in ways() {
        let manifests = chart.manifests(&values);
        let set = manifests.documents.iter().find(|document| document["kind"] == "StatefulSet").unwrap();
        let labels = set["spec"]["template"]["metadata"]["labels"].as_object().unwrap();
        let selects = |selector: &Value| {
            selector.as_object().unwrap().iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        assert!(selects(&set["spec"]["selector"]["matchLabels"]), "{way}");
        let ports = &set["spec"]["template"]["spec"]["containers"][0]["ports"];
        for service in manifests.documents.iter().filter(|document| document["kind"] == "Service") {
            assert!(selects(&service["spec"]["selector"]), "{way}");
            for port in service["spec"]["ports"].as_array().unwrap() {
                let target = &port["targetPort"];
                assert!(
                    ports.as_array().unwrap().iter().any(|port| port["name"] == *target),
                    "{way}: {target}"
                );
            }
        }
        manifests.object("Service", set["spec"]["serviceName"].as_str().unwrap());
        // The pod of `helm test` is none of those that serve.
        let test = manifests.documents.iter().find(|document| document["kind"] == "Pod").unwrap();
        let of_set = set["spec"]["selector"]["matchLabels"].as_object().unwrap();
        assert!(
            of_set.iter().any(|(key, value)| test["metadata"]["labels"].get(key) != Some(value)),
            "{way}"
        );
        for spec in pods(&manifests) {
            let mut volumes: Vec<_> = names(&spec["volumes"]);
            if spec == &set["spec"]["template"]["spec"] {
                volumes.extend(
                    set["spec"]["volumeClaimTemplates"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(|claim| claim["metadata"]["name"].as_str().unwrap()),
                );
            }
            for container in spec["containers"].as_array().unwrap() {
                for mount in names(&container["volumeMounts"]) {
                    assert!(volumes.contains(&mount), "{way}: no volume {mount}");
                }
            }
        }
    }
}

#[test]
fn values_that_cannot_be_meant_are_refused() {
    let Some(chart) = Chart::at_hand() else { return };
    for (values, told) in [
        (&["replica=2"][..], "replica"),
        (&["replicas=0"], "replicas"),
        (&["image.pullPolicy=Sometimes"], "pullPolicy"),
        (&["image.digest=sha256:12"], "digest"),
        (&["service.type=NodePorts"], "service/type"),
        (&["service.nodePort=80000"], "nodePort"),
        (&["persistence.size=big"], "size"),
        (&["config.server.listen=0.0.0.0:5000"], "listen"),
        (&["config.store.max_bytes=5"], "max_bytes"),
        (&["config.admin.listen="], "config.admin.listen needs an address"),
        (&["networkPolicy.client[0].a=b"], "client"),
        (&["tls.enabled=true"], "tls.enabled needs tls.secretName, or tls.certManager.enabled"),
        (
            &["tls.enabled=true", "tls.certManager.enabled=true"],
            "tls.certManager.issuerRef says who signs the certificate",
        ),
        (&["tls.clientAuth=maybe"], "clientAuth"),
        (&["tls.listen[0]=0.0.0.0:5443"], "tls.listen needs tls.enabled"),
        (&["hostPort.tlsPort=5443"], "hostPort.tlsPort needs tls.listen"),
        (&["tls.listen[0]=5443"], "tls/listen"),
        (&["service.tlsNodePort=80000"], "tlsNodePort"),
        (&["nodeSetup.loginSecret=No_Name"], "loginSecret"),
        (&["access.rules[0].action=permit"], "action"),
        (&["access.rules[0].action=allow", "access.rules[0].user[0]=a"], "user"),
        (&["access.networks[0]=everybody"], "networks"),
        (&["access.htpasswdSecret=No_Name"], "htpasswdSecret"),
        (&["config.uplink.mode=away"], "mode"),
    ] {
        let mut arguments = vec!["template", "roadstead", "helm/roadstead"];
        arguments.extend(values.iter().flat_map(|value| ["--set", value]));
        let rendered = chart.helm(&arguments);
        let said = String::from_utf8_lossy(&rendered.stderr);
        assert!(!rendered.status.success() && said.contains(told), "{values:?}: {said}");
    }
}

/// Each way in has a port of its own all the way from the node to the process.
#[test]
fn clients_come_with_tls_and_without_side_by_side() {
    let Some(chart) = Chart::at_hand() else { return };
    let manifests = chart.manifests(&project("tests/helm/values/tls-beside.yaml"));
    let configuration: toml::Table = manifests.configuration().parse().unwrap();
    let listening = |table: &str| configuration[table]["listen"][0].as_str().unwrap().to_owned();
    let service = &manifests.object("Service", "roadstead")["spec"]["ports"];
    let container =
        &manifests.object("StatefulSet", "roadstead")["spec"]["template"]["spec"]["containers"][0]["ports"];
    let (plain, secure) = (&service[0], &service[1]);
    for (port, of_service, of_node, listens) in
        [(plain, 5000, 30500, listening("server")), (secure, 5443, 30543, listening("tls"))]
    {
        assert_eq!((&port["port"], &port["nodePort"]), (&json!(of_service), &json!(of_node)));
        let target = container.as_array().unwrap().iter().find(|own| own["name"] == port["targetPort"]);
        let target = &target.unwrap()["containerPort"];
        assert_eq!(listens, format!("0.0.0.0:{target}"));
    }
    let manifests = chart.manifests(&project("tests/helm/values/tls-secret.yaml"));
    let configuration: toml::Table = manifests.configuration().parse().unwrap();
    assert!(configuration["server"]["listen"].as_array().unwrap().is_empty(), "in place of plain HTTP");
}

/// What nodes log in with is named in values, and is in a Secret alone.
#[test]
fn node_setup_is_told_the_files_that_its_secrets_are_mounted_as() {
    let Some(chart) = Chart::at_hand() else { return };
    let manifests = chart.manifests(&project("tests/helm/values/node-setup-login.yaml"));
    let pod = &manifests.object("DaemonSet", "node-setup")["spec"]["template"]["spec"];
    let told: Vec<_> =
        pod["containers"][0]["args"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let volumes = pod["volumes"].as_array().unwrap();
    for (option, secret) in [
        ("--client-cert=", "node-certificate"),
        ("--client-key=", "node-certificate"),
        ("--login-file=", "node-login"),
    ] {
        let file = told.iter().find_map(|text| text.strip_prefix(option)).unwrap();
        let mount =
            mounts.iter().find(|mount| file.starts_with(mount["mountPath"].as_str().unwrap())).unwrap();
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
        assert_eq!(volume["secret"]["secretName"], secret, "{option}");
        assert_eq!(volume["secret"]["defaultMode"], 0o400, "{option}");
        assert!(mount["subPath"].is_null(), "{option}: what changes would not be seen");
    }
}

/// Nodes call it by addresses, by names of their own, and by the Service's where they can.
#[test]
fn the_certificate_has_every_name_that_the_mirror_is_called_by() {
    let Some(chart) = Chart::at_hand() else { return };
    let manifests = chart.manifests(&project("tests/helm/values/tls-cert-manager.yaml"));
    let certificate = &manifests.object("Certificate", "roadstead")["spec"];
    assert_eq!(
        certificate["dnsNames"],
        json!([
            "roadstead",
            "roadstead.mirror",
            "roadstead.mirror.svc",
            "roadstead.mirror.svc.cluster.local",
            "localhost",
            "*.roadstead-admin.mirror.svc",
            "*.roadstead-admin.mirror.svc.cluster.local",
            "mirror.example",
        ])
    );
    assert_eq!(certificate["ipAddresses"], json!(["127.0.0.1", "10.0.0.7", "fd00::7"]));
    let set = manifests.object("StatefulSet", "roadstead");
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    let mounted = volumes.iter().find(|volume| volume["name"] == "tls").unwrap();
    assert_eq!(mounted["secret"]["secretName"], certificate["secretName"]);
}

/// What makes pods, with their specifications.
fn pods(manifests: &Manifests) -> Vec<&Value> {
    let specs = manifests.documents.iter().filter_map(|document| match document["kind"].as_str()? {
        "Pod" => Some(&document["spec"]),
        "StatefulSet" | "DaemonSet" => Some(&document["spec"]["template"]["spec"]),
        _ => None,
    });
    specs.collect()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|item| item["name"].as_str().unwrap()).collect()
}
