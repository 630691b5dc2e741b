//! Whether the gateway can serve requests, and if not, why not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The state of everything that serving needs. Every clone is the same state.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    components: Vec<(&'static str, Result<(), String>)>,
    warnings: Vec<(&'static str, String)>,
    stopping: bool,
}

impl Readiness {
    /// Not ready: each of `components` is still starting.
    pub fn new(components: &[&'static str]) -> Self {
        let components = components.iter().map(|component| (*component, Err("starting".to_owned()))).collect();
        Self(Arc::new(Mutex::new(State { components, warnings: Vec::new(), stopping: false })))
    }

    /// `component` works from now on, or does not and why.
    pub fn set(&self, component: &'static str, state: Result<(), String>) {
        let mut this = self.lock();
        match this.components.iter_mut().find(|(name, _)| *name == component) {
            Some((_, known)) => *known = state,
            None => this.components.push((component, state)),
        }
    }

    /// `component` has a trouble that requests can be served with, or none any more.
    pub fn warn(&self, component: &'static str, trouble: Option<String>) {
        let mut this = self.lock();
        this.warnings.retain(|(name, _)| *name != component);
        this.warnings.extend(trouble.map(|trouble| (component, trouble)));
    }

    /// What an operator should look after though requests can be served.
    pub fn warnings(&self) -> Vec<String> {
        self.lock().warnings.iter().map(|(component, trouble)| format!("{component}: {trouble}")).collect()
    }

    /// Not ready any more, for good: what is open is finished, and new requests belong elsewhere.
    pub fn stopping(&self) {
        self.lock().stopping = true;
    }

    /// Why requests cannot be served; empty when they can.
    pub fn reasons(&self) -> Vec<String> {
        let this = self.lock();
        let failed = this.components.iter().filter_map(|(component, state)| {
            let reason = state.as_ref().err()?;
            Some(format!("{component}: {reason}"))
        });
        this.stopping.then(|| "stopping".to_owned()).into_iter().chain(failed).collect()
    }

    /// Each change is complete by itself, so a writer that panicked has left nothing half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_when_every_component_is() {
        let readiness = Readiness::new(&["store", "mosaic"]);
        let clone = readiness.clone();
        assert_eq!(readiness.reasons(), ["store: starting", "mosaic: starting"]);
        clone.set("store", Ok(()));
        assert_eq!(readiness.reasons(), ["mosaic: starting"]);
        clone.set("mosaic", Err("it does not answer".to_owned()));
        assert_eq!(readiness.reasons(), ["mosaic: it does not answer"]);
        clone.set("mosaic", Ok(()));
        assert!(readiness.reasons().is_empty());
        clone.set("issuer", Err("starting".to_owned()));
        assert_eq!(readiness.reasons(), ["issuer: starting"]);
    }

    #[test]
    fn a_warning_stands_until_it_is_taken_back_and_stops_nothing() {
        let readiness = Readiness::new(&[]);
        readiness.warn("mail", Some("failed to connect".to_owned()));
        readiness.warn("mail", Some("failed to log in".to_owned()));
        assert_eq!(readiness.warnings(), ["mail: failed to log in"]);
        assert!(readiness.reasons().is_empty());
        readiness.warn("mail", None);
        assert!(readiness.warnings().is_empty());
    }

    #[test]
    fn is_never_ready_again_when_it_stops() {
        let readiness = Readiness::new(&["store"]);
        readiness.set("store", Ok(()));
        readiness.stopping();
        readiness.set("store", Ok(()));
        assert_eq!(readiness.reasons(), ["stopping"]);
    }
}
