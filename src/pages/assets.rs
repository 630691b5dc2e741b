//! The files that pages refer to: style, script, the theme's colours, its logo and icon. Their names are fixed.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::Error;
use super::theme::Palette;

/// A file that pages refer to, below `/.linkgate/assets/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its media type.
    pub content_type: &'static str,
    /// Its content.
    pub body: Bytes,
    /// The value of `Cache-Control`: an hour, so that a new version shows soon after an upgrade.
    pub cache_control: &'static str,
}

/// What pages load comes with every page of every visitor.
const LARGEST_LOGO: u64 = 64 * 1024;

/// The longest logo in a mail, in characters (Mosaic's limit for `base64logo`).
const LONGEST_MAIL_LOGO: usize = 20_000;

#[derive(Debug)]
pub(super) struct Assets {
    theme: Bytes,
    icon: Bytes,
    logo: Option<Logo>,
}

#[derive(Debug)]
struct Logo {
    content_type: &'static str,
    content: Bytes,
}

impl Assets {
    /// Reads the logo, a path below `base_dir` or an absolute one.
    pub(super) fn new(palette: Palette, logo: Option<&Path>, base_dir: &Path) -> Result<Self, Error> {
        let logo = logo.map(|path| Logo::read(&base_dir.join(path))).transpose()?;
        Ok(Self { theme: palette.css().into(), icon: palette.icon().into(), logo })
    }

    pub(super) fn has_logo(&self) -> bool {
        self.logo.is_some()
    }

    /// The logo as a `data:` URL for mail, where it is a picture that mail programs show and small enough.
    pub(super) fn mail_logo(&self) -> Option<String> {
        let logo = self.logo.as_ref().filter(|logo| logo.content_type != "image/svg+xml")?;
        let url = format!("data:{};base64,{}", logo.content_type, STANDARD.encode(&logo.content));
        (url.len() <= LONGEST_MAIL_LOGO).then_some(url)
    }

    pub(super) fn find(&self, name: &str) -> Option<Asset> {
        let (content_type, body) = match name {
            "style.css" => ("text/css; charset=utf-8", Bytes::from_static(include_bytes!("../../assets/style.css"))),
            "theme.css" => ("text/css; charset=utf-8", self.theme.clone()),
            "page.js" => ("text/javascript; charset=utf-8", Bytes::from_static(include_bytes!("../../assets/page.js"))),
            "mailbox.js" => {
                ("text/javascript; charset=utf-8", Bytes::from_static(include_bytes!("../../assets/mailbox.js")))
            }
            "icon.svg" => ("image/svg+xml", self.icon.clone()),
            "logo" => self.logo.as_ref().map(|logo| (logo.content_type, logo.content.clone()))?,
            _ => return None,
        };
        Some(Asset { content_type, body, cache_control: "public, max-age=3600" })
    }
}

impl Logo {
    fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::ReadLogo { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > LARGEST_LOGO {
            return Err(Error::LargeLogo { path: path.to_owned() });
        }
        let content = std::fs::read(path).map_err(failed)?;
        let content_type = image_type(&content).ok_or_else(|| Error::StrangeLogo { path: path.to_owned() })?;
        Ok(Self { content_type, content: content.into() })
    }
}

/// By content, because a browser that is told `nosniff` believes what we say.
fn image_type(content: &[u8]) -> Option<&'static str> {
    if content.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if content.starts_with(b"RIFF") && content.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    let text = std::str::from_utf8(content).ok()?.trim_start_matches('\u{feff}').trim_start();
    let is_svg =
        text.starts_with("<svg") || (text.starts_with("<?xml") || text.starts_with("<!")) && text.contains("<svg");
    is_svg.then_some("image/svg+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logo_is_known_by_its_content() {
        let check = |content: &[u8], expected| assert_eq!(image_type(content), expected, "{content:?}");
        check(b"\x89PNG\r\n\x1a\nrest", Some("image/png"));
        check(b"RIFF\x10\0\0\0WEBPVP8 ", Some("image/webp"));
        check(b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", Some("image/svg+xml"));
        check(b"\n<?xml version=\"1.0\"?>\n<svg/>", Some("image/svg+xml"));
        check(b"<!-- drawn by hand --><svg/>", Some("image/svg+xml"));
        check(b"<!doctype html><p>no", None);
        check(b"<html><svg/></html>", None);
        check(b"GIF89a", None);
        check(b"RIFF\x10\0\0\0WAVE", None);
        check(b"", None);
    }

    #[test]
    fn a_logo_that_cannot_be_used_is_refused_with_its_path() {
        let directory = std::env::temp_dir().join(format!("linkgate-logo-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the directory can be made");
        let assets = |name: &str, content: Option<&[u8]>| {
            let path = directory.join(name);
            content.into_iter().for_each(|content| std::fs::write(&path, content).expect("the file can be written"));
            let palette = Palette::of(None).expect("the default accent can be read");
            Assets::new(palette, Some(Path::new(name)), &directory)
        };
        let svg = assets("a.svg", Some(b"<svg/>")).expect("a small drawing is fine");
        let logo = svg.find("logo").map(|logo| (logo.content_type, logo.body));
        assert_eq!(logo, Some(("image/svg+xml", Bytes::from_static(b"<svg/>"))));
        assert!(matches!(assets("none.svg", None), Err(Error::ReadLogo { .. })));
        assert!(matches!(assets("a.gif", Some(b"GIF89a")), Err(Error::StrangeLogo { .. })));
        let large = [b"<svg>".as_slice(), &[b' '; 64 * 1024]].concat();
        assert!(matches!(assets("large.svg", Some(&large)), Err(Error::LargeLogo { .. })));
        std::fs::remove_dir_all(&directory).expect("the directory can be removed");
    }

    #[test]
    fn only_the_fixed_names_are_served() {
        let palette = Palette::of(None).expect("the default accent can be read");
        let assets = Assets::new(palette, None, Path::new("/")).expect("there is no logo to read");
        for name in ["style.css", "theme.css", "page.js", "mailbox.js", "icon.svg"] {
            assert!(assets.find(name).is_some_and(|asset| !asset.body.is_empty()), "{name}");
        }
        for name in ["", "logo", "../pages.rs", "STYLE.CSS", "style.css/", "/etc/passwd"] {
            assert_eq!(assets.find(name), None, "{name}");
        }
    }
}
