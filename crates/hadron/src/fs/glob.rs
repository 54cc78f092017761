//! Hadoop's path patterns: `*`, `?`, `[a-c]`, `[^a]`, `{a,b}` and `\` to take a character as it is.
//!
//! Braces are expanded first and may hold slashes; each path part is then matched by itself, and `*` never crosses a slash.

/// Whether any part is a pattern.
pub(crate) fn is_pattern(path: &str) -> bool {
    let mut escaped = false;
    for c in path.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '*' | '?' | '[' | '{' => return true,
            _ => {}
        }
    }
    false
}

/// Takes the backslashes away that protect characters.
pub(crate) fn unescape(part: &str) -> String {
    let mut plain = String::with_capacity(part.len());
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            other => plain.push(other),
        }
    }
    plain
}

/// Expands the braces of a path: `/a/{b,c/d}` is `/a/b` and `/a/c/d`. Braces nest. `None` where one is not closed.
pub(crate) fn expand_braces(path: &str) -> Option<Vec<String>> {
    let Some((open, close)) = outer_braces(path)? else {
        return Some(vec![path.to_owned()]);
    };
    let mut expanded = Vec::new();
    for choice in split_choices(&path[open + 1..close]) {
        expanded.extend(expand_braces(&format!(
            "{}{choice}{}",
            &path[..open],
            &path[close + 1..]
        ))?);
    }
    Some(expanded)
}

/// Byte positions of the first outermost pair; the outer `None` says that a brace stays open.
fn outer_braces(path: &str) -> Option<Option<(usize, usize)>> {
    let (mut open, mut depth, mut escaped) = (None, 0_usize, false);
    for (at, c) in path.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => {
                open = open.or(Some(at));
                depth += 1;
            }
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return Some(open.map(|open| (open, at)));
                }
            }
            _ => {}
        }
    }
    if depth > 0 { None } else { Some(None) }
}

fn split_choices(inner: &str) -> Vec<&str> {
    let (mut choices, mut from, mut depth, mut escaped) = (Vec::new(), 0, 0_usize, false);
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                choices.push(&inner[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    choices.push(&inner[from..]);
    choices
}

/// Whether `name`, one path part, fits `pattern`, one part without braces.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on when the last star must swallow one more character.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let stepped = match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(_) if n < name.len() => one(&pattern, p, name[n]),
            None if n == name.len() => return true,
            _ => None,
        };
        if let Some(next) = stepped {
            (p, n) = (next, n + 1);
        } else {
            match retry {
                Some((after, at)) if at < name.len() => {
                    retry = Some((after, at + 1));
                    (p, n) = (after, at + 1);
                }
                _ => return false,
            }
        }
    }
}

/// Matches one character at pattern position `p`; returns the next position.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern[p] {
        '?' => Some(p + 1),
        '\\' => (pattern.get(p + 1) == Some(&c)).then_some(p + 2),
        '[' => set(pattern, p, c).or_else(|| (c == '[' && !closes(pattern, p)).then_some(p + 1)),
        plain => (plain == c).then_some(p + 1),
    }
}

fn closes(pattern: &[char], p: usize) -> bool {
    pattern[p + 1..].contains(&']')
}

fn set(pattern: &[char], p: usize, c: char) -> Option<usize> {
    let negated = matches!(pattern.get(p + 1), Some('^' | '!'));
    let first = p + 1 + usize::from(negated);
    let mut at = first;
    let mut inside = false;
    loop {
        let low = *pattern.get(at)?;
        if low == ']' && at > first {
            return (inside != negated).then_some(at + 1);
        }
        if pattern.get(at + 1) == Some(&'-') && pattern.get(at + 2).is_some_and(|high| *high != ']') {
            inside |= (low..=pattern[at + 2]).contains(&c);
            at += 3;
        } else {
            inside |= low == c;
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("a*b*c", "aXbYbZc", true),
            ("?", "a", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[^a-c]", "d", true),
            ("[^a-c]", "a", false),
            ("[]a]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[a", "[a", true),
            ("a**b", "ab", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn braces_expand() {
        for (path, expected) in [
            ("/a", Some(vec!["/a"])),
            ("/a/{b,c}", Some(vec!["/a/b", "/a/c"])),
            ("/{a,b}/{c,d}", Some(vec!["/a/c", "/a/d", "/b/c", "/b/d"])),
            ("/{a,b{c,d}}", Some(vec!["/a", "/bc", "/bd"])),
            ("/\\{a,b}", Some(vec!["/\\{a,b}"])),
            ("/{a", None),
        ] {
            let expected = expected.map(|paths| paths.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(expand_braces(path), expected, "{path}");
        }
    }

    #[test]
    fn plain_names_are_no_patterns() {
        for (path, expected) in [
            ("/a/b", false),
            ("/a*", true),
            ("/a\\*", false),
            ("/{a}", true),
            ("/a]", false),
        ] {
            assert_eq!(is_pattern(path), expected, "{path}");
        }
        assert_eq!(unescape("a\\*b"), "a*b");
    }
}
