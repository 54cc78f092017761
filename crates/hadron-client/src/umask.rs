//! `fs.permissions.umask-mode`: octal (`022`) or symbolic (`u=rwx,g=rx,o=`), as Hadoop's `UmaskParser` reads it.

/// Reads a umask; `None` when the text is neither form. The result has bits of 0o777 only.
///
/// Octal text is the mask itself; symbolic text says what is allowed, so its complement is the mask.
pub fn parse_umask(text: &str) -> Option<u16> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return u16::from_str_radix(text, 8)
            .ok()
            .filter(|bits| *bits <= 0o1777)
            .map(|bits| bits & 0o777);
    }
    let mut allowed = 0o777;
    for clause in text.split(',') {
        let at = clause.find(['=', '+', '-'])?;
        let (who, rest) = clause.split_at(at);
        let (sign, what) = rest.split_at(1);
        let mut classes = 0;
        for letter in who.chars() {
            classes |= match letter {
                'u' => 0o700,
                'g' => 0o070,
                'o' => 0o007,
                'a' => 0o777,
                _ => return None,
            };
        }
        if who.is_empty() {
            classes = 0o777;
        }
        let mut bits = 0;
        for letter in what.chars() {
            bits |= match letter {
                'r' => 0o444,
                'w' => 0o222,
                'x' | 'X' => 0o111,
                _ => return None,
            };
        }
        bits &= classes;
        allowed = match sign {
            "=" => (allowed & !classes) | bits,
            "+" => allowed | bits,
            _ => allowed & !bits,
        };
    }
    Some(!allowed & 0o777)
}

#[cfg(test)]
mod tests {
    use super::parse_umask;

    #[test]
    fn umasks_are_octal_or_symbolic() {
        for (text, mask) in [
            ("022", Some(0o022)),
            ("0077", Some(0o077)),
            ("0", Some(0)),
            ("u=rwx,g=rx,o=", Some(0o027)),
            ("g-w,o-w", Some(0o022)),
            ("a=rx", Some(0o222)),
            ("9", None),
            ("", None),
            ("u=q", None),
        ] {
            assert_eq!(parse_umask(text), mask, "{text}");
        }
    }
}
