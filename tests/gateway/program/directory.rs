//! A stand-in for Mosaic that keeps users: what is written can be read, and calls can be scripted or held.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};

use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::Home;
use crate::harness::{PATIENCE, closed_port, configuration, eventually};
use crate::stand_in::{self, TOKEN, USERS};

/// The stand-in.
pub(crate) struct Directory {
    server: MockServer,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    users: Vec<Value>,
    calls: Vec<String>,
    next: VecDeque<ResponseTemplate>,
    hold: Option<mpsc::Receiver<()>>,
}

impl Directory {
    pub(crate) async fn start() -> Self {
        let (server, state) = (MockServer::start().await, Arc::<Mutex<State>>::default());
        Mock::given(any()).respond_with(Keeper(Arc::clone(&state))).mount(&server).await;
        Self { server, state }
    }

    /// The same with users `user0@example.com` and so on.
    pub(crate) async fn with_users(count: usize) -> Self {
        let directory = Self::start().await;
        let user = |at| record(at, &json!({ "email": format!("user{at}@example.com") }));
        directory.state.lock().unwrap().users = (0..count).map(user).collect();
        directory
    }

    pub(crate) fn address(&self) -> SocketAddr {
        *self.server.address()
    }

    /// A folder with a gateway before it.
    pub(crate) async fn home(&self) -> Home {
        let text = stand_in::before(self.address(), &configuration(closed_port().await));
        Home::with(&text.replace("\"memory\"", "\"sqlite:store.db\""))
    }

    /// Gives the next users that are made these answers, one each.
    pub(crate) fn answer_next(&self, answers: impl IntoIterator<Item = ResponseTemplate>) {
        self.state.lock().unwrap().next.extend(answers);
    }

    /// Keeps the next user that is made waiting until the sender is used.
    pub(crate) fn hold(&self) -> mpsc::Sender<()> {
        let (release, hold) = mpsc::channel();
        self.state.lock().unwrap().hold = Some(hold);
        release
    }

    /// Method and target of what was asked, without the calls for a token.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    /// How many users were asked to be made.
    pub(crate) fn posts(&self) -> usize {
        self.calls().iter().filter(|call| *call == &format!("POST {USERS}")).count()
    }

    /// Waits until so many users were asked to be made.
    pub(crate) async fn posted(&self, count: usize) {
        eventually(async || self.posts() >= count).await;
    }

    pub(crate) fn users(&self) -> Vec<Value> {
        self.state.lock().unwrap().users.clone()
    }

    /// The addresses of the users, in the order of their making.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.users().iter().map(|user| user["email"]["value"].as_str().unwrap().to_owned()).collect()
    }
}

/// A user record as Mosaic would give it.
fn record(at: usize, new: &Value) -> Value {
    let mut user = json!({ "user_id": format!("u{at}"), "status": "Pending", "created_at": 1, "updated_at": 1 });
    for (name, value) in new.as_object().unwrap() {
        user[name] = value.clone();
    }
    user["email"] = json!({ "value": new["email"], "email_verified": false });
    if new["phone_number"].is_string() {
        user["phone_number"] = json!({ "value": new["phone_number"], "phone_number_verified": false });
    }
    user
}

struct Keeper(Arc<Mutex<State>>);

impl Respond for Keeper {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let (path, query) = (request.url.path(), request.url.query().map(|query| format!("?{query}")));
        if path == TOKEN {
            let token = json!({ "access_token": "t", "token_type": "Bearer", "expires_in": 3600 });
            return ResponseTemplate::new(200).set_body_json(token);
        }
        let hold = {
            let mut state = self.0.lock().unwrap();
            state.calls.push(format!("{} {path}{}", request.method, query.unwrap_or_default()));
            if request.method == "POST" { state.hold.take() } else { None }
        };
        if let Some(hold) = hold {
            hold.recv_timeout(PATIENCE).ok();
        }
        let mut state = self.0.lock().unwrap();
        match (request.method.as_str(), path) {
            ("POST", USERS) => state.next.pop_front().unwrap_or_else(|| state.make(request)),
            ("GET", USERS) => state.list(request),
            ("GET", _) => match state.find(path) {
                Some(at) => result(200, &json!({ "result": state.users[at] })),
                None => result(404, &json!({ "message": "User not found", "error_code": 404 })),
            },
            ("DELETE", _) => {
                if path.ends_with("/apps") {
                    state.users.retain(|user| !path.contains(&format!("/{}/", user["user_id"].as_str().unwrap())));
                }
                ResponseTemplate::new(204)
            }
            _ => result(405, &json!({ "message": "Method not allowed", "error_code": 405 })),
        }
    }
}

impl State {
    fn make(&mut self, request: &Request) -> ResponseTemplate {
        let new: Value = serde_json::from_slice(&request.body).unwrap();
        if self.users.iter().any(|user| user["email"]["value"] == new["email"]) {
            return result(409, &json!({ "message": "User already exists", "error_code": 409 }));
        }
        self.users.push(record(self.users.len(), &new));
        result(201, &json!({ "result": self.users.last() }))
    }

    fn list(&self, request: &Request) -> ResponseTemplate {
        let number = |name: &str| {
            let value = request.url.query_pairs().find(|(found, _)| found == name).unwrap().1;
            value.parse::<usize>().unwrap()
        };
        let (offset, limit) = (number("page_offset"), number("page_limit"));
        let page: Vec<_> = self.users.iter().skip(offset).take(limit).collect();
        let has_next = offset + page.len() < self.users.len();
        let info = json!({ "has_next_page": has_next, "has_previous_page": offset > 0 });
        result(200, &json!({ "total_count": self.users.len(), "page_info": info, "result": page }))
    }

    fn find(&self, path: &str) -> Option<usize> {
        let name = path.rsplit('/').next().unwrap().replace("%40", "@");
        self.users.iter().position(|user| user["user_id"] == *name || user["email"]["value"] == *name)
    }
}

fn result(status: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}
