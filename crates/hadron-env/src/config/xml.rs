//! Reads Hadoop's XML: `<configuration><property><name/><value/><final/></property>…`, with XInclude.
//!
//! What it does not do: DTD entities beyond the five of XML, fallbacks of XInclude.
//! Invariant: every error names file and line; includes nest at most [`MAX_INCLUDE_DEPTH`] deep.

use std::path::{Path, PathBuf};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::ConfigError;

/// How deep files may include each other.
const MAX_INCLUDE_DEPTH: usize = 16;
/// A site file may not be longer.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// One `<property>`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// `None` when there was no `<value>`: Hadoop then keeps what it had.
    pub(super) value: Option<String>,
    pub(super) is_final: bool,
}

pub(super) fn read_file(path: &Path) -> Result<Vec<Entry>, ConfigError> {
    read_file_at(path, 0)
}

fn read_file_at(path: &Path, depth: usize) -> Result<Vec<Entry>, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(failed(std::io::Error::other(format!(
            "longer than {MAX_FILE_BYTES} bytes"
        ))));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    Parser::new(&text, path, depth).parse()
}

pub(super) fn read_text(text: &str, path: &Path) -> Result<Vec<Entry>, ConfigError> {
    Parser::new(text, path, 0).parse()
}

struct Parser<'a> {
    text: &'a str,
    path: &'a Path,
    depth: usize,
    reader: Reader<&'a [u8]>,
    entries: Vec<Entry>,
}

/// The property being read, and which of its elements is open.
#[derive(Default)]
struct Partial {
    name: Option<String>,
    value: Option<String>,
    is_final: String,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, path: &'a Path, depth: usize) -> Self {
        Self {
            text,
            path,
            depth,
            reader: Reader::from_str(text),
            entries: Vec::new(),
        }
    }

    fn parse(mut self) -> Result<Vec<Entry>, ConfigError> {
        let mut open: Vec<String> = Vec::new();
        let mut partial: Option<Partial> = None;
        let mut seen_root = false;
        loop {
            match self.next()? {
                Event::Eof if open.is_empty() && seen_root => return Ok(self.entries),
                Event::Eof => {
                    let reason = open
                        .last()
                        .map_or("no <configuration>".into(), |name| format!("<{name}> is not closed"));
                    return Err(self.error(reason));
                }
                Event::Start(tag) => {
                    let name = self.start(&tag, &open, &mut partial)?;
                    seen_root = true;
                    open.push(name);
                }
                Event::Empty(tag) => {
                    let name = self.start(&tag, &open, &mut partial)?;
                    seen_root = true;
                    self.end(&name, &mut partial)?;
                }
                Event::End(_) => {
                    let name = open.pop().unwrap_or_default();
                    self.end(&name, &mut partial)?;
                }
                Event::Text(text) => append(&mut partial, &open, &text.xml10_content()),
                Event::CData(text) => append(&mut partial, &open, &text.xml10_content()),
                Event::GeneralRef(reference) => {
                    let text = match reference.resolve_char_ref() {
                        Ok(Some(character)) => character.to_string(),
                        Ok(None) => {
                            let name = reference.xml10_content();
                            match quick_xml::escape::resolve_predefined_entity(&name) {
                                Some(text) => text.to_owned(),
                                None => return Err(self.error(format!("unknown entity &{name};"))),
                            }
                        }
                        Err(error) => return Err(self.error(error.to_string())),
                    };
                    append(&mut partial, &open, &text);
                }
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
    }

    fn next(&mut self) -> Result<Event<'a>, ConfigError> {
        match self.reader.read_event() {
            Ok(event) => Ok(event),
            Err(error) => Err(self.error(error.to_string())),
        }
    }

    /// Handles an opening tag; returns its name without namespace.
    fn start(
        &mut self,
        tag: &BytesStart<'_>,
        open: &[String],
        partial: &mut Option<Partial>,
    ) -> Result<String, ConfigError> {
        let name = tag.local_name().as_ref().to_owned();
        match (open.len(), name.as_str()) {
            (0, "configuration") => {}
            (0, other) => return Err(self.error(format!("top element is <{other}>, not <configuration>"))),
            (_, "include") if partial.is_none() => self.include(tag)?,
            (_, "property") => {
                if partial.is_some() {
                    return Err(self.error("<property> inside <property>: is one not closed?".into()));
                }
                *partial = Some(self.read_attributes(tag)?);
            }
            (_, "value") => {
                if let Some(partial) = partial {
                    partial.value.get_or_insert_default();
                }
            }
            _ => {}
        }
        Ok(name)
    }

    /// Hadoop 3 also accepts `<property name="…" value="…" final="…"/>`.
    fn read_attributes(&self, tag: &BytesStart<'_>) -> Result<Partial, ConfigError> {
        Ok(Partial {
            name: self.attribute(tag, "name")?,
            value: self.attribute(tag, "value")?,
            is_final: self.attribute(tag, "final")?.unwrap_or_default(),
        })
    }

    fn attribute(&self, tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, ConfigError> {
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| self.error(error.to_string()))?;
            if attribute.key.local_name().as_ref() == name {
                let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
                return Ok(Some(value.map_err(|error| self.error(error.to_string()))?.into_owned()));
            }
        }
        Ok(None)
    }

    fn end(&mut self, name: &str, partial: &mut Option<Partial>) -> Result<(), ConfigError> {
        if name != "property" {
            return Ok(());
        }
        let Some(partial) = partial.take() else {
            return Ok(());
        };
        let key = partial.name.as_deref().unwrap_or("").trim().to_owned();
        if key.is_empty() {
            return Err(self.error("<property> without <name>".into()));
        }
        self.entries.push(Entry {
            name: key,
            value: partial.value,
            is_final: partial.is_final.trim() == "true",
        });
        Ok(())
    }

    fn include(&mut self, tag: &BytesStart<'_>) -> Result<(), ConfigError> {
        let Some(href) = self.attribute(tag, "href")? else {
            return Err(self.error("<include> without href".into()));
        };
        if self.depth >= MAX_INCLUDE_DEPTH {
            return Err(self.error(format!("includes are more than {MAX_INCLUDE_DEPTH} deep at {href}")));
        }
        let included = PathBuf::from(href.strip_prefix("file://").unwrap_or(&href));
        let included = match self.path.parent() {
            Some(dir) if included.is_relative() => dir.join(included),
            _ => included,
        };
        match read_file_at(&included, self.depth + 1) {
            Ok(entries) => self.entries.extend(entries),
            Err(ConfigError::Read { path, source }) => {
                return Err(self.error(format!("include {}: {source}", path.display())));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn error(&self, reason: String) -> ConfigError {
        let position = self.reader.buffer_position().max(self.reader.error_position());
        let end = usize::try_from(position).unwrap_or(usize::MAX).min(self.text.len());
        ConfigError::Syntax {
            path: self.path.to_owned(),
            line: 1 + self.text.as_bytes()[..end]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count(),
            reason,
        }
    }
}

fn append(partial: &mut Option<Partial>, open: &[String], text: &str) {
    let (Some(partial), Some(element)) = (partial, open.last()) else {
        return;
    };
    match element.as_str() {
        "name" => partial.name.get_or_insert_default().push_str(text),
        "value" => partial.value.get_or_insert_default().push_str(text),
        "final" => partial.is_final.push_str(text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[(&str, Option<&str>, bool)], &str>) {
        let result = read_text(text, Path::new("x.xml"));
        match (result, expected) {
            (Ok(entries), Ok(expected)) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|e| (e.name.as_str(), e.value.as_deref(), e.is_final))
                    .collect();
                assert_eq!(entries, expected, "{text}");
            }
            (Err(error), Err(expected)) => {
                let error = error.to_string();
                assert!(error.contains(expected), "{error} does not contain {expected}");
            }
            (result, _) => panic!("{text}: {result:?}"),
        }
    }

    #[test]
    fn reads_what_hadoop_reads() {
        check(
            "<?xml version=\"1.0\"?>\n<?xml-stylesheet href=\"c.xsl\"?>\n<!-- c --><configuration>\n<property>\n<name> a </name>\
             <value>1 &lt; 2 &amp; &#65;<!-- in --></value><final>true</final><description>d</description></property>\
             <property><name>b</name><value><![CDATA[<x>]]></value></property>\
             <property><name>c</name></property><property><name>d</name><value/></property>\
             <property name=\"e\" value=\"5\"/></configuration>",
            Ok(&[
                ("a", Some("1 < 2 & A"), true),
                ("b", Some("<x>"), false),
                ("c", None, false),
                ("d", Some(""), false),
                ("e", Some("5"), false),
            ]),
        );
        check("<configuration/>", Ok(&[]));
    }

    #[test]
    fn errors_name_file_and_line() {
        check(
            "<configuration>\n<property>\n<name>a</nam>\n</property></configuration>",
            Err("x.xml:3: "),
        );
        check(
            "<configuration>\n\n<property><name>a</name>",
            Err("x.xml:3: <property> is not closed"),
        );
        check(
            "<configuration>\n<property><value>1</value></property></configuration>",
            Err("x.xml:2: <property> without"),
        );
        check("<other/>", Err("x.xml:1: top element is <other>"));
        check("", Err("no <configuration>"));
        check(
            "<configuration><property><name>&nope;</name></property></configuration>",
            Err("unknown entity &nope;"),
        );
        check(
            "<configuration><property><name>a</name>\n<property><name>b</name></property></configuration>",
            Err("x.xml:2: <property> inside"),
        );
    }

    #[test]
    fn includes_are_relative_and_limited() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("main.xml");
        let part = dir.path().join("part.xml");
        let include = "<configuration xmlns:xi=\"http://www.w3.org/2001/XInclude\"><xi:include href=\"part.xml\"/></configuration>";
        std::fs::write(&main, include).unwrap();
        std::fs::write(
            &part,
            "<configuration><property><name>a</name><value>b</value></property></configuration>",
        )
        .unwrap();
        assert_eq!(read_file(&main).unwrap().len(), 1);
        std::fs::write(&part, include).unwrap();
        let error = read_file(&main).unwrap_err().to_string();
        assert!(error.contains("16 deep"), "{error}");
        std::fs::remove_file(&part).unwrap();
        let error = read_file(&main).unwrap_err().to_string();
        assert!(error.contains("main.xml:1: include"), "{error}");
    }
}
