//! HDFS as a store of the shell: the client library behind blocking calls.

use std::rc::Rc;

use anyhow::Result;

use crate::fs::{FsError, FsResult, Opener, Store};
use crate::settings::GenericOptions;

/// What opens file systems for the shell, and scheme and authority of paths that name none.
pub(crate) fn opener(generic: &GenericOptions) -> Result<((String, String), Box<Opener>)> {
    let conf = generic.configuration()?;
    let url = conf.text("fs.defaultFS").unwrap_or_else(|| "file:///".to_owned());
    let (scheme, rest) = url.split_once("://").unwrap_or(("file", ""));
    let authority = rest.split('/').next().unwrap_or("");
    let default = (scheme.to_owned(), authority.to_owned());
    let opener = move |scheme: &str, authority: &str| -> FsResult<Rc<dyn Store>> {
        let _ = authority;
        Err(FsError::new(format!("No FileSystem for scheme \"{scheme}\"")))
    };
    Ok((default, Box::new(opener)))
}
