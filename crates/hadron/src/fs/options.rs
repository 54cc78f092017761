//! Hadoop's way with a command's own options: words with one dash, before the paths.

/// What a command was given.
#[derive(Debug)]
pub(crate) struct Options {
    set: Vec<String>,
    /// What is left: patterns and paths.
    pub(crate) rest: Vec<String>,
}

impl Options {
    /// Whether `-name` was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.set.iter().any(|option| option == name)
    }
    /// How many different options were given.
    pub(crate) fn count(&self) -> usize {
        self.set.len()
    }
    /// The first option given.
    pub(crate) fn first(&self) -> Option<&str> {
        self.set.first().map(String::as_str)
    }
}

/// What a command takes.
pub(crate) struct Takes {
    /// Fewest arguments after the options.
    pub(crate) min: usize,
    /// Most arguments after the options.
    pub(crate) max: usize,
    /// Options without their dash.
    pub(crate) options: &'static [&'static str],
    /// Leaves unknown options where they are (`chmod -x FILE`).
    pub(crate) keep_unknown: bool,
}

impl Takes {
    /// At least `min` arguments.
    pub(crate) const fn at_least(min: usize, options: &'static [&'static str]) -> Self {
        Self {
            min,
            max: usize::MAX,
            options,
            keep_unknown: false,
        }
    }

    /// Sorts `args` into options and the rest. The error is the text after `-command: `.
    pub(crate) fn parse(&self, args: &[String]) -> Result<Options, String> {
        let mut set: Vec<String> = Vec::new();
        let mut rest: Vec<String> = args.to_vec();
        let mut at = 0;
        while let Some(arg) = rest.get(at) {
            if !arg.starts_with('-') || arg == "-" {
                break;
            }
            if arg == "--" {
                rest.remove(at);
                break;
            }
            let option = &arg[1..];
            if self.options.contains(&option) {
                if !set.iter().any(|known| known == option) {
                    set.push(option.to_owned());
                }
                rest.remove(at);
            } else if self.keep_unknown {
                at += 1;
            } else {
                return Err(format!("Illegal option {arg}"));
            }
        }
        if rest.len() < self.min {
            return Err(format!(
                "Not enough arguments: expected {} but got {}",
                self.min,
                rest.len()
            ));
        }
        if rest.len() > self.max {
            return Err(format!(
                "Too many arguments: expected {} but got {}",
                self.max,
                rest.len()
            ));
        }
        Ok(Options { set, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(takes: &Takes, args: &[&str]) -> Result<(Vec<String>, Vec<String>), String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        takes.parse(&args).map(|options| (options.set, options.rest))
    }

    #[test]
    fn options_come_first() {
        let takes = Takes::at_least(1, &["f", "r"]);
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            parse(&takes, &["-r", "-f", "/a"]),
            Ok((words(&["r", "f"]), words(&["/a"])))
        );
        assert_eq!(parse(&takes, &["/a", "-f"]), Ok((words(&[]), words(&["/a", "-f"]))));
        assert_eq!(parse(&takes, &["--", "-f"]), Ok((words(&[]), words(&["-f"]))));
        assert_eq!(parse(&takes, &["-"]), Ok((words(&[]), words(&["-"]))));
        assert_eq!(parse(&takes, &["-x", "/a"]), Err("Illegal option -x".to_owned()));
        assert_eq!(
            parse(&takes, &["-r"]),
            Err("Not enough arguments: expected 1 but got 0".to_owned())
        );
        let keep = Takes {
            keep_unknown: true,
            ..Takes::at_least(2, &["R"])
        };
        assert_eq!(
            parse(&keep, &["-x", "-R", "/a"]),
            Ok((words(&["R"]), words(&["-x", "/a"])))
        );
    }
}
