//! The gateway's own answers: to requests that may not pass, and to other proxies that ask about theirs.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use http::{Method, header};
use pingora::http::RequestHeader;

use super::decision::{ALLOWED, Asked, Decision};
use super::question::Question;
use super::refusal::Refused;
use super::{Context, Proxy, challenge};
use crate::portal::answer::{self, Refusal};

impl Proxy {
    /// The answer to a request that may not pass.
    pub(super) fn refuse(
        &self,
        context: &mut Context,
        request: &RequestHeader,
        decision: Decision,
    ) -> http::Response<Body> {
        let site = Arc::clone(&context.site);
        let (origin, request_id) = (context.origin(), context.request_id().to_owned());
        let target = context.target().map_or_else(|| "/".to_owned(), |target| target.path_and_query.clone());
        let refuser = site.refuser(&origin, &request_id, site.reader(request, &target), self.clock.now());
        let refused = Refused { refuser, hosts: &site.hosts, request, target: &target };
        context.verdict = decision.verdict();
        if let (Some(objected), Some(target)) = (decision.objected(), context.target()) {
            objected.remember(target, context.verdict, &request_id, context.arrived_at);
        }
        let mut answer = match decision {
            Decision::SignIn { takes_tokens } => {
                let mut answer = refused.sign_in();
                if takes_tokens && answer.status() == http::StatusCode::UNAUTHORIZED {
                    challenge::ask_for_token(&mut answer, &request.headers);
                }
                answer
            }
            Decision::StepUp(objected, max_age) => {
                objected.note(&request_id, &self.metrics);
                let by_token = objected.visitor().is_some_and(|visitor| visitor.session().is_none());
                context.objected = Some(objected);
                if by_token { challenge::ask_for_recent_token(&refused, max_age) } else { refused.step_up(max_age) }
            }
            Decision::NoAccess(objected) => {
                objected.note(&request_id, &self.metrics);
                let by_token = objected.visitor().is_some_and(|visitor| visitor.session().is_none());
                let mut answer = refused.no_access(context.objected.insert(objected));
                if by_token {
                    challenge::say_insufficient(&mut answer);
                }
                answer
            }
            Decision::Preflight(answer) => {
                let mut answer = answer.body(Body::empty()).unwrap_or_default();
                answer::dress(answer.headers_mut(), &request_id, &origin);
                return answer;
            }
            Decision::Refuse(refusal @ Refusal::InvalidToken { .. }) => {
                let mut answer = refused.refuser.answer(refusal, &request.headers);
                challenge::ask_for_password(&mut answer, &request.headers);
                answer
            }
            Decision::Refuse(Refusal::UnknownHost) => refused.unknown_host(&site.pages),
            Decision::Refuse(refusal) => refused.refuser.answer(refusal, &request.headers),
            Decision::OtherMethods(allowed) => {
                let mut answer = refused.refuser.answer(Refusal::Status(405), &request.headers);
                answer.headers_mut().insert(header::ALLOW, allowed);
                answer
            }
            // The portal's paths are served by whoever has a connection of the visitor's.
            Decision::Portal => refused.refuser.answer(Refusal::NotFound, &request.headers),
        };
        // Pages that may read the application's answers may read why there is none.
        if let Some(cors) = context.cors() {
            let (theirs, ours) = cors.answer(&request.headers, answer.headers());
            for name in theirs {
                answer.headers_mut().remove(name);
            }
            for (name, value) in ours {
                answer.headers_mut().append(name, value);
            }
        }
        answer
    }

    /// The answer to another proxy about a request that it forwards itself.
    pub(super) async fn answer_proxy(
        &self,
        asking: &RequestHeader,
        peer: IpAddr,
        context: &mut Context,
        question: Question<'_>,
    ) -> pingora::Result<http::Response<Body>> {
        let trusted = context.site.is_trusted(peer);
        let read = if trusted { question.request(asking) } else { Err(Refusal::UntrustedPeer) };
        let mut answer = match read {
            Ok(request) => self.answer_about(request, context, question).await?,
            Err(refusal) => question.refuse(self.refuse(context, asking, refusal.into()), &context.origin()),
        };
        answer::dress(answer.headers_mut(), context.request_id(), &context.origin());
        Ok(answer)
    }

    async fn answer_about(
        &self,
        mut request: RequestHeader,
        context: &mut Context,
        question: Question<'_>,
    ) -> pingora::Result<http::Response<Body>> {
        let site = Arc::clone(&context.site);
        let asked = Asked { request: &request, client: context.client, now: context.arrived_at, streams: None };
        let decided = match site.decide_about(asked, &mut context.target).await {
            Ok(pass) => site.assertion(&pass).await.map(|assertion| (pass, assertion)).map_err(Decision::from),
            Err(decision) => Err(decision),
        };
        match decided {
            Ok((pass, assertion)) => {
                context.assertion = assertion;
                let leave = self.let_pass(context, pass, request.method.clone(), None)?;
                context.verdict = ALLOWED;
                self.write_headers(&mut request, context, &leave, None)?;
                Ok(question.allow(&request, &site.terms.managed))
            }
            // It tells nobody's identity, and the paths are ours on every host.
            Err(Decision::Portal) => {
                context.verdict = "portal";
                Ok(question.allow(&RequestHeader::build(Method::GET, b"/", None)?, &site.terms.managed))
            }
            Err(decision) => Ok(question.refuse(self.refuse(context, &request, decision), &context.origin())),
        }
    }
}
