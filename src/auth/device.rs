//! The kind of program that a user signs in with, so that they can tell their logins apart: "Firefox on Linux".
//!
//! Only names from the lists below are stored, never the `User-Agent` itself: it would fingerprint the user and bring
//! foreign text into our pages.

/// Programs, by a part of their `User-Agent`. A program that also claims to be another comes before it.
const PROGRAMS: [(&str, &str); 24] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("PostmanRuntime/", "Postman"),
    ("insomnia/", "Insomnia"),
    ("python", "Python"),
    ("Python", "Python"),
    ("Dart/", "an app"),
    ("okhttp/", "an app"),
    ("CFNetwork/", "an app"),
    ("node", "Node.js"),
    ("Go-http-client/", "Go"),
];

/// Operating systems, by a part of the `User-Agent`.
const SYSTEMS: [(&str, &str); 8] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Darwin", "an Apple device"),
    ("Linux", "Linux"),
];

/// Describes program and system; `None` if neither is known.
#[must_use]
pub fn named(user_agent: &str) -> Option<String> {
    let of = |list: &[(&str, &'static str)]| {
        list.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
    };
    match (of(&PROGRAMS), of(&SYSTEMS)) {
        (Some(program), Some(system)) => Some(format!("{program} on {system}")),
        (Some(name), None) | (None, Some(name)) => Some(name.to_owned()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_programs_are_described() {
        for (user_agent, name) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
                "Chrome on Windows",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            ("curl/8.5.0", "curl"),
            ("python-requests/2.32.3", "Python"),
            ("Dart/3.5 (dart:io)", "an app"),
        ] {
            assert_eq!(named(user_agent).as_deref(), Some(name), "{user_agent}");
        }
    }

    #[test]
    fn unknown_user_agent_text_is_never_stored() {
        for user_agent in ["", "<script>alert(1)</script>", "Ada's telephone", "../../etc/passwd"] {
            assert_eq!(named(user_agent), None, "{user_agent}");
        }
        let made_up = named("Ada's Firefox/<b> on her Linux box").unwrap();
        assert_eq!(made_up, "Firefox on Linux");
    }
}
