//! Groups: made, renamed and removed, and what that does to the tokens of their members.

use super::*;

const GROUPS: &str = "/cis/v1/groups";

fn nobody() -> Value {
    json!({ "message": "User not found", "error_code": 404 })
}

fn no_group() -> Value {
    json!({ "message": "Group not found", "error_code": 404 })
}

impl World {
    async fn make_group(&self, name: &str) -> String {
        let made = self.post(GROUPS, &json!({ "name": name })).await.expect(201).json();
        made["result"]["group_id"].as_str().unwrap().to_owned()
    }

    /// The groups that an ID token names.
    async fn groups_in_token(&self) -> Value {
        let session = self.sign_in().await.text("session_id");
        let call = json!({ "session_id": session, "claims": { "id_token": { "groups": null } } });
        let tokens = self.post(SESSION_AUTHENTICATE, &call).await.expect(200);
        claims(self, &tokens.text("id_token")).await["groups"].clone()
    }
}

#[tokio::test]
async fn a_group_is_made_changed_and_removed() {
    let world = World::new().await;
    let new = json!({ "name": "owners", "description": "All of it", "custom_data": { "a": 1 }, "unknown": 1 });
    let made = world.post(GROUPS, &new).await.expect(201).json();
    let id = made["result"]["group_id"].as_str().unwrap();
    let path = format!("{GROUPS}/{id}");
    let mut expected = json!({ "result": {
        "group_id": id,
        "name": "owners",
        "description": "All of it",
        "custom_data": { "a": 1 },
        "created_at": 1_777_890_030_000_i64,
        "updated_at": 1_777_890_030_000_i64,
    } });
    assert_eq!(made, expected);
    assert_eq!(world.get(&path).await.expect(200).json(), expected);
    world.clock.advance(Duration::from_secs(1));
    let changed = world.call(Method::PUT, &path, r#"{"name":"bosses"}"#).await.expect(200).json();
    expected["result"]["name"] = json!("bosses");
    expected["result"]["updated_at"] = json!(1_777_890_031_000_i64);
    assert_eq!(changed, expected);
    let names: Vec<Value> = world.get(GROUPS).await.expect(200).json()["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["name"].clone())
        .collect();
    assert_eq!(names, ["bosses", "staff"], "those that the configuration names are there too");
    // The old name is free, the new one is not.
    let taken =
        json!({ "message": "Group already exists", "error_code": 409, "ts_error_code": "group_already_exists" });
    world.post(GROUPS, &json!({ "name": "bosses" })).await.refuses(409, &taken);
    let other = format!("{GROUPS}/{}", world.make_group("owners").await);
    world.call(Method::PUT, &other, r#"{"name":"bosses"}"#).await.refuses(409, &taken);
    assert_eq!(world.call(Method::DELETE, &path, "").await.expect(204).body, "");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        world.call(method, &path, "{}").await.refuses(404, &no_group());
    }
    world.make_group("bosses").await;
}

#[tokio::test]
async fn a_group_needs_a_name() {
    let world = World::new().await;
    for (wrong, message) in [
        (json!({}), "name should not be empty"),
        (json!({ "name": " " }), "name must be a text of 1 to 255 characters"),
        (json!({ "name": "x".repeat(256) }), "name must be a text of 1 to 255 characters"),
        (
            json!({ "name": "x", "description": "x".repeat(2001) }),
            "description must be shorter than or equal to 2000 characters",
        ),
        (
            json!({ "name": "x", "custom_data": { "x": "y".repeat(500 * 1024) } }),
            "custom_data must not be larger than 500 KB",
        ),
    ] {
        world.post(GROUPS, &wrong).await.refuses(400, &json!({ "message": [message], "error_code": 400 }));
    }
}

#[tokio::test]
async fn members_have_the_groups_name_in_their_tokens() {
    let world = World::new().await;
    let ada = world.user_id("ada@example.com").await;
    let id = world.make_group("owners").await;
    let members = format!("{GROUPS}/{id}/members");
    assert_eq!(world.get(&members).await.expect(200).json(), json!({ "result": [] }));
    for _ in 0..2 {
        let added = world.post(&members, &json!({ "user_ids": [ada] })).await.expect(201).json();
        assert_eq!(added["result"].as_array().unwrap().len(), 1);
    }
    assert_eq!(world.get(&members).await.expect(200).json()["result"][0]["user_id"], json!(ada));
    assert_eq!(world.groups_in_token().await, json!(["staff", "owners"]));
    let of_ada = world.get(&format!("/cis/v1/users/{ada}/groups")).await.expect(200).json();
    assert_eq!(of_ada["result"][1]["group_id"], json!(id));

    world.call(Method::PUT, &format!("{GROUPS}/{id}"), r#"{"name":"bosses"}"#).await.expect(200);
    assert_eq!(world.groups_in_token().await, json!(["staff", "bosses"]));

    let one = format!("{members}/{ada}");
    world.call(Method::DELETE, &one, "").await.expect(204);
    world.call(Method::DELETE, &one, "").await.refuses(404, &nobody());
    assert_eq!(world.groups_in_token().await, json!(["staff"]));

    world.post(&members, &json!({ "user_ids": [ada] })).await.expect(201);
    world.call(Method::DELETE, &format!("{GROUPS}/{id}"), "").await.expect(204);
    assert_eq!(world.groups_in_token().await, json!(["staff"]));
}

#[tokio::test]
async fn who_is_not_there_becomes_no_member() {
    let world = World::new().await;
    let ada = world.user_id("ada@example.com").await;
    let members = format!("{GROUPS}/{}/members", world.make_group("owners").await);
    world.post(&members, &json!({ "user_ids": [ada, "nobody"] })).await.refuses(404, &nobody());
    assert_eq!(world.get(&members).await.expect(200).json(), json!({ "result": [] }), "all or none");
    let wrong = json!({ "message": ["user_ids must contain 1 to 1000 elements"], "error_code": 400 });
    world.post(&members, &json!({ "user_ids": [] })).await.refuses(400, &wrong);
    world.post(&members, &json!({})).await.expect(400);
    let none = format!("{GROUPS}/none/members");
    world.post(&none, &json!({ "user_ids": [ada] })).await.refuses(404, &no_group());
    world.get(&none).await.refuses(404, &no_group());
    world.call(Method::DELETE, &format!("{none}/{ada}"), "").await.refuses(404, &no_group());
    world.get("/cis/v1/users/nobody/groups").await.refuses(404, &nobody());
}
