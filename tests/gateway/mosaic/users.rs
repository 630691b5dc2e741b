//! User records.

use super::*;

const BY_EMAIL: &str = "/cis/v1/users/email/ada%40example.com";

fn record(user_id: &str) -> Value {
    json!({"result": {"user_id": user_id, "status": "Pending", "created_at": 1, "updated_at": 1}})
}

#[tokio::test]
async fn creating_one_who_exists_is_fine() {
    let refusal = json!({"message": "exists", "error_code": 409, "ts_error_code": "x"});
    let new = NewUser { email: Some(ada()), ..NewUser::default() };
    let outcomes = [(201, record("user-1"), Some(true)), (409, refusal.clone(), Some(false)), (400, refusal, None)];
    for (status, body, expected) in outcomes {
        let story = Story::start().await;
        story.says("/cis/v1/users", status, &body).await;
        assert_eq!(story.mosaic.create_user(&new).await.ok(), expected, "{status}");
        let [request] = &story.requests("/cis/v1/users").await[..] else { panic!("one request") };
        assert_eq!(json_body(request), json!({"email": "ada@example.com"}));
    }
}

#[tokio::test]
async fn records_are_found_by_address_or_not_there() {
    let missing = json!({"message": "nothing here", "error_code": 404});
    let story = Story::start().await;
    story.answers("GET", BY_EMAIL, ResponseTemplate::new(200).set_body_json(record("user-1"))).await;
    let user = story.mosaic.find_user(&Identifier::Email(ada())).await.unwrap().unwrap();
    assert_eq!((user.subject, user.status), (subject("user-1"), UserStatus::Pending));

    let story = Story::start().await;
    story.answers("GET", BY_EMAIL, ResponseTemplate::new(404).set_body_json(&missing)).await;
    assert_eq!(story.mosaic.find_user(&Identifier::Email(ada())).await.unwrap(), None);
    // Another server's 404 says nothing about users.
    let story = Story::start().await;
    let error = story.mosaic.find_user(&Identifier::Email(ada())).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { status: 404, .. }), "{error:?}");
}

#[tokio::test]
async fn a_record_of_another_user_is_refused() {
    let story = Story::start().await;
    story.answers("GET", "/cis/v1/users/user-1", ResponseTemplate::new(200).set_body_json(record("user-2"))).await;
    let error = story.mosaic.user(&subject("user-1")).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }), "{error:?}");
}

#[tokio::test]
async fn reads_are_tried_a_second_time() {
    let story = Story::start().await;
    let broken = Mock::given(path(BY_EMAIL)).respond_with(ResponseTemplate::new(502));
    broken.up_to_n_times(1).with_priority(1).mount(&story.server).await;
    story.answers("GET", BY_EMAIL, ResponseTemplate::new(200).set_body_json(record("user-1"))).await;
    assert!(story.mosaic.find_user(&Identifier::Email(ada())).await.unwrap().is_some());

    let story = Story::start().await;
    story.answers("GET", BY_EMAIL, ResponseTemplate::new(502)).await;
    same(&story.mosaic.find_user(&Identifier::Email(ada())).await, &Error::ServerFault { status: 502 }, "twice");
    assert_eq!(story.requests(BY_EMAIL).await.len(), 2);
}

#[tokio::test]
async fn no_subject_leads_to_another_path() {
    let story = Story::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(record("x"))).mount(&story.server).await;
    for wrong in [".", ".."] {
        same(&story.mosaic.user(&subject(wrong)).await, &Error::UserNotFound, wrong);
    }
    assert!(story.mosaic.user(&subject("../groups?x=1")).await.is_err());
    assert_eq!(story.requests("/cis/v1/users/..%2Fgroups%3Fx%3D1").await.len(), 1);
}
