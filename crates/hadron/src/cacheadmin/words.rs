//! The words of a command line, taken out one by one as Hadoop's tools do, and read as Java would.
//!
//! Source: Hadoop `StringUtils.popOption`, `popOptionWithArgument`, `popFirstNonOption`.

use super::Failure;
use hadron_types::{FsPath, parse_relative_time};

/// The words that nobody has taken yet.
pub(super) struct Words(Vec<String>);

impl Words {
    pub(super) fn new(words: &[String]) -> Self {
        Self(words.to_vec())
    }

    fn find(&self, name: &str) -> Option<usize> {
        let options = self.0.iter().take_while(|word| *word != "--");
        options.into_iter().position(|word| word == name)
    }

    /// Whether an option is there.
    pub(super) fn option(&mut self, name: &str) -> bool {
        let at = self.find(name);
        if let Some(at) = at {
            self.0.remove(at);
        }
        at.is_some()
    }

    /// The value of an option.
    pub(super) fn value(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let Some(at) = self.find(name) else { return Ok(None) };
        self.0.remove(at);
        if at == self.0.len() {
            let text = format!("option {name} requires 1 argument.");
            return Err(Failure::unreadable("IllegalArgumentException", &text));
        }
        Ok(Some(self.0.remove(at)))
    }

    /// The first word that is no option.
    pub(super) fn word(&mut self) -> Option<String> {
        let at = self.0.iter().position(|word| word == "--" || !word.starts_with('-'))?;
        if self.0[at] == "--" {
            return (at + 1 < self.0.len()).then(|| self.0.remove(at + 1));
        }
        Some(self.0.remove(at))
    }

    /// What is left.
    pub(super) fn rest(&self) -> &[String] {
        &self.0
    }
}

/// Java's `Long.parseLong`.
pub(super) fn long(text: &str) -> Result<i64, Failure> {
    text.parse()
        .map_err(|_| Failure::unreadable("NumberFormatException", &format!("For input string: \"{text}\"")))
}

/// Java's `Short.parseShort`.
pub(super) fn short(text: &str) -> Result<i16, Failure> {
    let number: i32 = text
        .parse()
        .map_err(|_| Failure::unreadable("NumberFormatException", &format!("For input string: \"{text}\"")))?;
    i16::try_from(number).map_err(|_| {
        let text = format!("Value out of range. Value:\"{text}\" Radix:10");
        Failure::unreadable("NumberFormatException", &text)
    })
}

/// An octal mode.
pub(super) fn mode(text: &str) -> Result<i32, Failure> {
    let mode = i16::from_str_radix(text, 8);
    mode.map(i32::from).map_err(|_| {
        let text = format!("For input string: \"{text}\" under radix 8");
        Failure::unreadable("NumberFormatException", &text)
    })
}

/// A span of time in ms, or `never` for `never`. `what` names the option in refusals.
pub(super) fn span(text: &str, never: i64, what: &str) -> Result<i64, Failure> {
    if text.eq_ignore_ascii_case("never") {
        return Ok(never);
    }
    parse_relative_time(text).map_err(|why| Failure::usage(format!("Error while parsing {what} value: {why}")))
}

/// An absolute path; others are below `home`.
pub(super) fn path(text: &str, home: &str) -> Result<String, Failure> {
    let unreadable = |why: &str| Failure::unreadable("IllegalArgumentException", why);
    if text.is_empty() {
        return Err(unreadable("Can not create a Path from an empty string"));
    }
    let without_scheme = match text.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => text,
    };
    let absolute = match without_scheme.starts_with('/') {
        true => without_scheme.to_owned(),
        false => format!("{home}/{without_scheme}"),
    };
    match FsPath::parse(&absolute) {
        Ok(path) => Ok(path.into_string()),
        Err(_) => Ok(absolute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        Words(text.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn words_are_taken_as_hadoop_takes_them() {
        let mut some = words("-path /a -force name -pool");
        assert!(some.option("-force") && !some.option("-force"));
        assert_eq!(some.value("-path"), Ok(Some("/a".to_owned())));
        assert_eq!(some.value("-id"), Ok(None));
        let failure = Failure::unreadable("IllegalArgumentException", "option -pool requires 1 argument.");
        assert_eq!(some.value("-pool"), Err(failure));
        assert_eq!((some.word(), some.word()), (Some("name".to_owned()), None));
        assert!(some.rest().is_empty());
        let mut dashed = words("-- -name");
        assert_eq!(dashed.value("-name"), Ok(None));
        assert_eq!(dashed.word(), Some("-name".to_owned()));
    }

    #[test]
    fn numbers_spans_and_paths_are_read_as_java_does() {
        let refused = |text: &str| Err(Failure::unreadable("NumberFormatException", text));
        assert_eq!(short("7"), Ok(7));
        assert_eq!(short("x"), refused("For input string: \"x\""));
        assert_eq!(short("40000"), refused("Value out of range. Value:\"40000\" Radix:10"));
        assert_eq!(mode("0755"), Ok(0o755));
        assert_eq!(span("Never", 9, "ttl"), Ok(9));
        assert_eq!(span("2m", 9, "ttl"), Ok(120_000));
        let wrong = "Error while parsing ttl value: Unable to parse relative time value of 5: too short";
        assert_eq!(span("5", 9, "ttl"), Err(Failure::usage(wrong)));
        for (text, absolute) in [
            ("/a//b/", "/a/b"),
            ("a", "/user/me/a"),
            ("hdfs://host:1/a", "/a"),
            ("hdfs://host", "/"),
            ("/a/../b", "/a/../b"),
        ] {
            assert_eq!(path(text, "/user/me"), Ok(absolute.to_owned()), "{text}");
        }
    }
}
