//! Who may pass where: routes, their access, and the rules that name some of the signed-in.

use http::Method;
use serde_json::json;

use crate::harness::{Gate, with_routes};

mod conditions;
mod observe;
mod public;
mod reasons;
mod step_up;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_path_decides_in_any_order() {
    let routes = [
        "[[route]]\nupstream = UPSTREAM\n",
        "[[route]]\npath = \"/app\"\naccess = \"public\"\nupstream = UPSTREAM\n",
        "[[route]]\npath = \"/app/admin\"\nallow = { roles = ['admin'] }\nupstream = UPSTREAM\n",
        "[[route]]\npath = \"/app/admin/help\"\naccess = \"optional\"\nupstream = UPSTREAM\n",
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0]] {
        let gate = Gate::with(|text| with_routes(&text, &order.map(|route| routes[route]).concat())).await;
        let ada = gate.signed_in("ada@example.com").await;
        for (path, stranger, signed_in) in [
            ("/", 401, 200),
            ("/apps", 401, 200),
            ("/app", 200, 200),
            ("/app/adminx", 200, 200),
            ("/app/admin", 401, 403),
            ("/app/admin/", 401, 403),
            ("/app//admin/x", 401, 403),
            ("/app/%61dmin", 401, 403),
            ("/app/admin/help", 200, 200),
            ("/app/admin/help/x", 200, 200),
            ("/app/admin/helping", 401, 403),
        ] {
            assert_eq!(gate.visitor().program().open(path).await.status, stranger, "{path}");
            assert_eq!(ada.program().open(path).await.status, signed_in, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_names_visitors_by_address_domain_group_or_role() {
    let rules = [
        ("/address", "addresses = ['root@example.com']"),
        ("/other-address", "addresses = ['oot@example.com', 'root@example.com.evil.test']"),
        ("/domain", "domains = ['example.com']"),
        ("/domain-rule", "addresses = ['@example.com']"),
        ("/other-domain", "domains = ['ample.com', 'sub.example.com']"),
        ("/group", "groups = ['ops']"),
        ("/group-with-a-comma", "groups = ['on, call']"),
        ("/part-of-a-group", "groups = ['on', 'call', 'op', 'OPS', 'ops,on']"),
        ("/role", "roles = ['admin']"),
        ("/role-as-group", "groups = ['admin']"),
        ("/either", "roles = ['owner']\ngroups = ['ops']"),
        ("/claim", "claims = { email = 'root@example.com' }"),
        ("/other-claim", "claims = { email = 'oot@example.com', groups = 'ops' }"),
        ("/one-of-a-claim", "claims = { groups = ['dev', 'ops'] }"),
        ("/part-of-a-claim", "claims = { groups = { contains = 'on, call' } }"),
        ("/part-of-a-text", "claims = { email = { contains = 'root' } }"),
    ];
    let route = |(path, rule)| format!("[[route]]\npath = \"{path}\"\nupstream = UPSTREAM\n[route.allow]\n{rule}\n");
    let routes: String = rules.into_iter().map(route).collect();
    let gate = Gate::with(|text| with_routes(&text, &routes)).await;
    let root = gate.signed_in("root@example.com").await.program();
    let ada = gate.signed_in("ada@example.com").await.program();
    let mut passed = Vec::new();
    for (path, _) in rules {
        // What the visitor says of themselves names nobody.
        let sent = [("X-Forwarded-Groups", "ops"), ("X-Forwarded-Roles", "admin")];
        let pass = [&root, &ada].map(|visitor| {
            let mut visitor = visitor.clone();
            async move { visitor.send(Method::GET, path, &sent, "").await.status == 200 }
        });
        let [root, ada] = pass;
        passed.push((path, root.await, ada.await));
        assert_eq!(gate.visitor().program().open(path).await.status, 401, "{path}");
    }
    let expected = [
        ("/address", true, false),
        ("/other-address", false, false),
        ("/domain", true, true),
        ("/domain-rule", true, true),
        ("/other-domain", false, false),
        ("/group", true, false),
        ("/group-with-a-comma", true, false),
        ("/part-of-a-group", false, false),
        ("/role", true, false),
        ("/role-as-group", false, false),
        ("/either", true, false),
        ("/claim", true, false),
        ("/other-claim", false, false),
        ("/one-of-a-claim", true, false),
        ("/part-of-a-claim", true, false),
        ("/part-of-a-text", true, false),
    ];
    assert_eq!(passed, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_names_users_for_good_by_their_subject() {
    let gate = Gate::start().await;
    let ada = gate.signed_in("ada@example.com").await;
    let subject = ada.program().open("/.linkgate/session").await.json()["subject"].as_str().unwrap().to_owned();
    let routes = format!("[[route]]\nupstream = UPSTREAM\nallow = {{ subjects = ['{subject}'] }}\n");
    let gate = Gate::on(gate.store.clone(), gate.clock.clone(), |text| with_routes(&text, &routes)).await;
    assert_eq!(ada.program().at(&gate).open("/").await.status, 200);
    assert_eq!(gate.signed_in("root@example.com").await.program().open("/").await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_allow_rule_is_enough_and_any_deny_rule_wins() {
    let routes = [
        "[[route]]\npath = '/any'\nallow = [{ roles = ['owner'] }, { groups = ['ops'] }]\nupstream = UPSTREAM\n",
        "[[route]]\npath = '/denied'\nallow = { groups = ['ops'] }\ndeny = { roles = ['admin'] }\nupstream = UPSTREAM\n",
        "[[route]]\npath = '/only-deny'\ndeny = [{ roles = ['x'] }, { groups = ['ops'] }]\nupstream = UPSTREAM\n",
        "[[route]]\npath = '/optional'\naccess = 'optional'\ndeny = { groups = ['ops'] }\nupstream = UPSTREAM\n",
    ];
    let gate = Gate::with(|text| with_routes(&text, &routes.concat())).await;
    let root = gate.signed_in("root@example.com").await.program();
    let ada = gate.signed_in("ada@example.com").await.program();
    for (path, of_root, of_ada, of_nobody) in [
        ("/any", 200, 403, 401),
        ("/denied", 403, 403, 401),
        ("/only-deny", 403, 200, 401),
        ("/optional", 403, 200, 200),
    ] {
        assert_eq!(root.clone().open(path).await.status, of_root, "{path}");
        assert_eq!(ada.clone().open(path).await.status, of_ada, "{path}");
        assert_eq!(gate.visitor().program().open(path).await.status, of_nobody, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_without_access_is_shown_a_page_or_told_in_json() {
    let routes = "[[route]]\nupstream = UPSTREAM\nallow = { groups = ['ops'] }\n";
    let gate = Gate::with(|text| with_routes(&text, routes)).await;
    let mut ada = gate.signed_in("ada@example.com").await;
    let page = ada.open("/a?b=1").await;
    assert_eq!((page.status.as_u16(), page.header("cache-control")), (403, "no-store"));
    assert_eq!(page.heading(), "You don't have access to localhost");
    assert!(page.body.contains("ada@example.com"), "{page:?}");
    assert_eq!(page.field("csrf").len(), 43, "the page offers to sign out");
    for fields in [&[("Accept", "application/json")][..], &[("Sec-Fetch-Mode", "cors"), ("Accept", "*/*")]] {
        let mut program = ada.clone();
        program.fields.clear();
        let answer = program.send(Method::GET, "/a?b=1", fields, "").await;
        let id = answer.header("x-request-id");
        let expected = json!({ "error": "no_access", "message": "You don't have access.", "request_id": id });
        assert_eq!((answer.status.as_u16(), answer.json()), (403, expected), "{fields:?}");
    }
    assert!(gate.recorder.requests().is_empty());
}
