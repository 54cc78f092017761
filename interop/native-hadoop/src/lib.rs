//! `libhadoop.so` for judging: what Hadoop's Java code calls natively where it uses Unix sockets, passed descriptors, shared
//! memory, locked memory and checksums. Packages of Hadoop's jars come without it.
//!
//! Only the signatures are Hadoop's (`javap -p` shows them); the rest is a thin layer over the kernel. Groups and
//! compression codecs stay with Java: native claims about them say no.
//! What it does not do: anything a judge does not need; a missing function is an UnsatisfiedLinkError that names it.

mod crc;
mod files;
mod sockets;
mod watcher;

use jni::JNIEnv;
use jni::objects::{JObject, JString};
use jni::sys::{jint, jstring};

/// What a native function gives when it has thrown.
trait Nothing {
    fn nothing() -> Self;
}

impl Nothing for () {
    fn nothing() {}
}

impl Nothing for jint {
    fn nothing() -> Self {
        -1
    }
}

impl Nothing for i64 {
    fn nothing() -> Self {
        -1
    }
}

impl<T> Nothing for *mut T {
    fn nothing() -> Self {
        std::ptr::null_mut()
    }
}

/// A failure on its way to Java.
struct Thrown {
    class: &'static str,
    text: String,
}

type Native<T> = Result<T, Thrown>;

impl From<jni::errors::Error> for Thrown {
    fn from(error: jni::errors::Error) -> Self {
        Self {
            class: "java/io/IOException",
            text: format!("JNI: {error}"),
        }
    }
}

/// The failure of a system call, `errno` in it.
fn failed(class: &'static str, what: &str, error: &std::io::Error) -> Thrown {
    Thrown {
        class,
        text: format!("{what} error: {error}"),
    }
}

/// Runs `work`; a failure becomes a Java exception.
fn native<'a, T: Nothing>(mut env: JNIEnv<'a>, work: impl FnOnce(&mut JNIEnv<'a>) -> Native<T>) -> T {
    match work(&mut env) {
        Ok(value) => value,
        Err(thrown) => {
            // A Java exception that is on its way already says more.
            if !env.exception_check().unwrap_or(true) {
                let _ = env.throw_new(thrown.class, thrown.text);
            }
            T::nothing()
        }
    }
}

/// The result of a system call that says -1 when it failed; interrupted ones are repeated.
fn call(mut work: impl FnMut() -> isize) -> std::io::Result<isize> {
    loop {
        let result = work();
        if result >= 0 {
            return Ok(result);
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn text(env: &mut JNIEnv<'_>, from: &JString<'_>) -> Native<String> {
    Ok(env.get_string(from)?.into())
}

/// The number in a `java.io.FileDescriptor`.
fn number_of(env: &mut JNIEnv<'_>, descriptor: &JObject<'_>) -> Native<jint> {
    Ok(env.get_field(descriptor, "fd", "I")?.i()?)
}

/// A `java.io.FileDescriptor` of `fd`.
fn descriptor_of<'a>(env: &mut JNIEnv<'a>, fd: jint) -> Native<JObject<'a>> {
    let object = env.new_object("java/io/FileDescriptor", "()V", &[])?;
    env.set_field(&object, "fd", "I", fd.into())?;
    Ok(object)
}

macro_rules! no {
    ($($name:ident),* $(,)?) => {$(
        #[unsafe(no_mangle)]
        pub extern "system" fn $name(_: JNIEnv<'_>, _: JObject<'_>) -> jni::sys::jboolean {
            0
        }
    )*};
}

no!(
    Java_org_apache_hadoop_util_NativeCodeLoader_buildSupportsSnappy,
    Java_org_apache_hadoop_util_NativeCodeLoader_buildSupportsOpenssl,
    Java_org_apache_hadoop_util_NativeCodeLoader_buildSupportsIsal,
    Java_org_apache_hadoop_util_NativeCodeLoader_buildSupportsZstd,
);

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_util_NativeCodeLoader_getLibraryName(
    env: JNIEnv<'_>,
    _: JObject<'_>,
) -> jstring {
    native(env, |env| Ok(env.new_string("judging")?.into_raw()))
}
