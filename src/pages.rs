//! What people see: the pages, in the operator's theme and words.
//!
//! A part fills a [`View`] and gets HTML back; which page and which status is the caller's business.

use std::path::Path;

use bytes::Bytes;
use minijinja::value::{Serde, merge_maps};
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Serialize;

use crate::clock::Timestamp;
use crate::origin::Origin;

mod theme;

pub use theme::{BadColor, Color, Theme};

/// Everything that is needed to show a page: templates, messages, theme and assets.
#[derive(Debug)]
pub struct Pages {
    environment: Environment<'static>,
    app: String,
}

/// What every page carries beside its own content.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Frame<'a> {
    /// The reference at the foot of the page: the same in header and log.
    pub request_id: &'a str,
    /// The moment of the answer.
    pub now: Timestamp,
}

/// The content of one page in one state.
pub trait View: Serialize {
    /// The template that shows it.
    const TEMPLATE: &'static str;
}

/// A file that pages refer to, below `/.linkgate/assets/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its media type.
    pub content_type: &'static str,
    /// Its content.
    pub body: Bytes,
    /// The value of `Cache-Control`.
    pub cache_control: &'static str,
}

/// Why the pages cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A template does not parse.
    #[error("read the template `{name}`")]
    Template {
        /// The template.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: minijinja::Error,
    },
}

const TEMPLATES: &[(&str, &str)] = &[("layout.html", include_str!("../templates/layout.html"))];

impl Pages {
    /// Reads the theme's files, checks its colours and parses the templates.
    ///
    /// # Errors
    /// When the logo cannot be used, or the accent cannot be read on a page.
    pub fn new(theme: &Theme, public_url: &Origin, _base_dir: &Path) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in TEMPLATES {
            environment.add_template(name, source).map_err(|source| Error::Template { name, source })?;
        }
        let app = theme.name.clone().unwrap_or_else(|| public_url.host.clone());
        environment.add_global("app", app.clone());
        environment.add_global("lang", "en");
        environment.add_global("dir", "ltr");
        Ok(Self { environment, app })
    }

    /// The application's name.
    pub fn app_name(&self) -> &str {
        &self.app
    }

    /// The page of `view`.
    pub fn show<V: View>(&self, view: &V, frame: Frame<'_>) -> String {
        let own = Value::from(Serde(view));
        self.render(V::TEMPLATE, merge_maps([own, Value::from(Serde(frame))]))
    }

    /// A template with its values; pages extend `layout.html`. With `request_id` and `now` in `values` the page has a
    /// foot with both. A template that fails is logged and gives a plain page.
    pub fn render(&self, template: &str, values: Value) -> String {
        let page = self.environment.get_template(template).and_then(|template| template.render(values));
        page.unwrap_or_else(|error| {
            tracing::error!(template, %error, "failed to render a page");
            "<!doctype html>".to_owned()
        })
    }

    /// An asset by its fixed name: `style.css`, `theme.css`, `page.js` or `logo`.
    pub fn asset(&self, _name: &str) -> Option<Asset> {
        None
    }
}
