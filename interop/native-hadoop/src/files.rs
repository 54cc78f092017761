//! `org.apache.hadoop.io.nativeio`: files, shared and locked memory.

use crate::{Native, Thrown, call, descriptor_of, failed, native, number_of, text};
use jni::JNIEnv;
use jni::objects::{JByteBuffer, JObject, JString};
use jni::sys::{jboolean, jint, jlong, jobject, jstring};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::sync::atomic::{AtomicU64, Ordering};

const IO: &str = "java/io/IOException";
const POSIX: &str = "org/apache/hadoop/io/nativeio/NativeIO$POSIX";

/// Constants that Java has as -1 until the library says them.
const CONSTANTS: &[(&str, jint)] = &[
    ("O_RDONLY", libc::O_RDONLY),
    ("O_WRONLY", libc::O_WRONLY),
    ("O_RDWR", libc::O_RDWR),
    ("O_CREAT", libc::O_CREAT),
    ("O_EXCL", libc::O_EXCL),
    ("O_NOCTTY", libc::O_NOCTTY),
    ("O_TRUNC", libc::O_TRUNC),
    ("O_APPEND", libc::O_APPEND),
    ("O_NONBLOCK", libc::O_NONBLOCK),
    ("O_SYNC", libc::O_SYNC),
    ("S_IFMT", libc::S_IFMT as jint),
    ("S_IFIFO", libc::S_IFIFO as jint),
    ("S_IFCHR", libc::S_IFCHR as jint),
    ("S_IFDIR", libc::S_IFDIR as jint),
    ("S_IFBLK", libc::S_IFBLK as jint),
    ("S_IFREG", libc::S_IFREG as jint),
    ("S_IFLNK", libc::S_IFLNK as jint),
    ("S_IFSOCK", libc::S_IFSOCK as jint),
    ("S_ISUID", libc::S_ISUID as jint),
    ("S_ISGID", libc::S_ISGID as jint),
    ("S_ISVTX", libc::S_ISVTX as jint),
    ("S_IRUSR", libc::S_IRUSR as jint),
    ("S_IWUSR", libc::S_IWUSR as jint),
    ("S_IXUSR", libc::S_IXUSR as jint),
    ("POSIX_FADV_NORMAL", libc::POSIX_FADV_NORMAL),
    ("POSIX_FADV_RANDOM", libc::POSIX_FADV_RANDOM),
    ("POSIX_FADV_SEQUENTIAL", libc::POSIX_FADV_SEQUENTIAL),
    ("POSIX_FADV_WILLNEED", libc::POSIX_FADV_WILLNEED),
    ("POSIX_FADV_DONTNEED", libc::POSIX_FADV_DONTNEED),
    ("POSIX_FADV_NOREUSE", libc::POSIX_FADV_NOREUSE),
    ("SYNC_FILE_RANGE_WAIT_BEFORE", 1),
    ("SYNC_FILE_RANGE_WRITE", 2),
    ("SYNC_FILE_RANGE_WAIT_AFTER", 4),
];

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_initNative(env: JNIEnv<'_>, _: JObject<'_>) {
    native(env, |env| {
        let class = env.find_class(POSIX)?;
        for (name, value) in CONSTANTS {
            // Not every release has all of them.
            let Ok(field) = env.get_static_field_id(&class, *name, "I") else {
                env.exception_clear()?;
                continue;
            };
            env.set_static_field(&class, field, (*value).into())?;
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_getMemlockLimit0(
    _: JNIEnv<'_>,
    _: JObject<'_>,
) -> jlong {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: there is room for the answer.
    match unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } {
        0 => jlong::try_from(limit.rlim_cur).unwrap_or(jlong::MAX),
        _ => 0,
    }
}

fn rename(env: &mut JNIEnv<'_>, from: &JString<'_>, to: &JString<'_>) -> Native<()> {
    let (from, to) = (text(env, from)?, text(env, to)?);
    std::fs::rename(&from, &to).map_err(|error| failed(IO, &format!("rename {from} to {to}"), &error))
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_renameTo0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    from: JString<'_>,
    to: JString<'_>,
) {
    native(env, |env| rename(env, &from, &to))
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_link0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    from: JString<'_>,
    to: JString<'_>,
) {
    native(env, |env| {
        let (from, to) = (text(env, &from)?, text(env, &to)?);
        std::fs::hard_link(&from, &to).map_err(|error| failed(IO, &format!("link {from} to {to}"), &error))
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_00024POSIX_open(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    path: JString<'_>,
    flags: jint,
    mode: jint,
) -> jobject {
    native(env, |env| {
        let path = text(env, &path)?;
        let name = CString::new(path.as_str()).map_err(|error| Thrown {
            class: IO,
            text: error.to_string(),
        })?;
        // SAFETY: the name ends with a zero and lives through the call.
        let opened = call(|| unsafe { libc::open(name.as_ptr(), flags | libc::O_CLOEXEC, mode) } as isize);
        let fd = opened.map_err(|error| failed(IO, &format!("open {path}"), &error))?;
        Ok(descriptor_of(env, fd as jint)?.into_raw())
    })
}

fn name_of(file: &str, id: u32) -> String {
    let all = std::fs::read_to_string(file).unwrap_or_default();
    let mut lines = all.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|parts| parts.get(2) == Some(&id.to_string().as_str()));
    found
        .and_then(|parts| parts.first().map(|name| (*name).to_owned()))
        .unwrap_or_else(|| id.to_string())
}

fn stat<'a>(env: &mut JNIEnv<'a>, found: &std::fs::Metadata) -> Native<JObject<'a>> {
    let class = "org/apache/hadoop/io/nativeio/NativeIO$POSIX$Stat";
    let ids = [
        (found.uid() as jint).into(),
        (found.gid() as jint).into(),
        (found.mode() as jint).into(),
    ];
    Ok(env.new_object(class, "(III)V", &ids)?)
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_00024POSIX_fstat(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    descriptor: JObject<'_>,
) -> jobject {
    native(env, |env| {
        let number = number_of(env, &descriptor)?;
        let found = std::fs::metadata(format!("/proc/self/fd/{number}"));
        let found = found.map_err(|error| failed(IO, "fstat(2)", &error))?;
        Ok(stat(env, &found)?.into_raw())
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_00024POSIX_stat(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    path: JString<'_>,
) -> jobject {
    native(env, |env| {
        let path = text(env, &path)?;
        let found = std::fs::metadata(&path).map_err(|error| failed(IO, &format!("stat {path}"), &error))?;
        Ok(stat(env, &found)?.into_raw())
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_00024POSIX_chmodImpl(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    path: JString<'_>,
    mode: jint,
) {
    native(env, |env| {
        let path = text(env, &path)?;
        let set = std::fs::set_permissions(&path, PermissionsExt::from_mode(mode as u32));
        set.map_err(|error| failed(IO, &format!("chmod {path}"), &error))
    })
}

fn user_name(env: JNIEnv<'_>, file: &str, id: u32) -> jstring {
    native(env, |env| Ok(env.new_string(name_of(file, id))?.into_raw()))
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_00024POSIX_getUserName(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    id: jint,
) -> jstring {
    user_name(env, "/etc/passwd", id as u32)
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_00024POSIX_getGroupName(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    id: jint,
) -> jstring {
    user_name(env, "/etc/group", id as u32)
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_00024POSIX_posix_1fadvise(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    descriptor: JObject<'_>,
    offset: jlong,
    len: jlong,
    advice: jint,
) {
    native(env, |env| {
        let number = number_of(env, &descriptor)?;
        // SAFETY: no pointers; advice that is refused changes nothing.
        unsafe { libc::posix_fadvise(number, offset, len, advice) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_00024POSIX_sync_1file_1range(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    descriptor: JObject<'_>,
    offset: jlong,
    len: jlong,
    flags: jint,
) {
    native(env, |env| {
        let number = number_of(env, &descriptor)?;
        // SAFETY: no pointers; it is a hint.
        unsafe { libc::sync_file_range(number, offset, len, flags as u32) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_00024POSIX_mlock_1native(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    buffer: JByteBuffer<'_>,
    len: jlong,
) {
    native(env, |env| {
        let start = env.get_direct_buffer_address(&buffer)?;
        // SAFETY: Java says that the buffer has so many bytes.
        let locked = call(|| unsafe { libc::mlock(start.cast(), len as usize) } as isize);
        locked.map(|_| ()).map_err(|error| failed(IO, "mlock(2)", &error))
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_00024POSIX_mmap(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    descriptor: JObject<'_>,
    protection: jint,
    shared: jboolean,
    len: jlong,
) -> jlong {
    native(env, |env| {
        let number = number_of(env, &descriptor)?;
        let flags = if shared != 0 {
            libc::MAP_SHARED
        } else {
            libc::MAP_PRIVATE
        };
        // SAFETY: the kernel chooses the address.
        let mapped = unsafe { libc::mmap(std::ptr::null_mut(), len as usize, protection, flags, number, 0) };
        match mapped {
            libc::MAP_FAILED => Err(failed(IO, "mmap(2)", &std::io::Error::last_os_error())),
            address => Ok(address as jlong),
        }
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_NativeIO_00024POSIX_munmap(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    address: jlong,
    len: jlong,
) {
    native(env, |_| {
        // SAFETY: Java gives back what `mmap` gave it.
        let unmapped = call(|| unsafe { libc::munmap(address as *mut libc::c_void, len as usize) } as isize);
        unmapped.map(|_| ()).map_err(|error| failed(IO, "munmap(2)", &error))
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_SharedFileDescriptorFactory_deleteStaleTemporaryFiles0(
    _: JNIEnv<'_>,
    _: JObject<'_>,
    _: JString<'_>,
    _: JString<'_>,
) {
    // None of ours are left behind: they are unlinked at once.
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_io_nativeio_SharedFileDescriptorFactory_createDescriptor0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    prefix: JString<'_>,
    folder: JString<'_>,
    len: jint,
) -> jobject {
    native(env, |env| {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (prefix, folder) = (text(env, &prefix)?, text(env, &folder)?);
        let path = format!("{folder}/{prefix}{}_{number}", std::process::id());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o700);
        let made = options.open(&path).and_then(|file: File| {
            std::fs::remove_file(&path)?;
            file.set_len(len as u64)?;
            Ok(file)
        });
        let file = made.map_err(|error| failed(IO, &format!("create {path}"), &error))?;
        Ok(descriptor_of(env, file.into_raw_fd())?.into_raw())
    })
}
