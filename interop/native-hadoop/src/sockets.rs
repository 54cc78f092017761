//! `org.apache.hadoop.net.unix.DomainSocket`.

use crate::{Native, Thrown, call, descriptor_of, failed, native, number_of, text};
use jni::JNIEnv;
use jni::objects::{JByteArray, JByteBuffer, JObject, JObjectArray, JString};
use jni::sys::{jint, jintArray};
use std::io::Error;
use std::mem::{size_of, zeroed};

const IO: &str = "java/io/IOException";
const SOCKET: &str = "java/net/SocketException";
const TIMEOUT: &str = "java/net/SocketTimeoutException";

const SEND_BUFFER_SIZE: jint = 1;
const RECEIVE_BUFFER_SIZE: jint = 2;
const SEND_TIMEOUT: jint = 3;
const RECEIVE_TIMEOUT: jint = 4;

/// Most descriptors in one message.
const MAX_PASSED: usize = 16;

fn socket_error(what: &str, error: Error) -> Thrown {
    let class = match error.raw_os_error() {
        Some(libc::EAGAIN) => TIMEOUT,
        Some(libc::EPIPE | libc::ECONNRESET | libc::ECONNREFUSED | libc::ENOTCONN | libc::ENOENT) => SOCKET,
        _ => IO,
    };
    failed(class, what, &error)
}

fn address(path: &str) -> Native<libc::sockaddr_un> {
    // SAFETY: all zeros is a valid address structure.
    let mut address: libc::sockaddr_un = unsafe { zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    if path.len() >= address.sun_path.len() {
        return Err(Thrown {
            class: IO,
            text: format!("path {path} is too long"),
        });
    }
    for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(address)
}

fn socket() -> Native<jint> {
    // SAFETY: no pointers.
    let made = call(|| unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) } as isize);
    Ok(made.map_err(|error| failed(IO, "socket(2)", &error))? as jint)
}

fn close(fd: jint) {
    // SAFETY: no pointers; the caller owns the descriptor.
    unsafe { libc::close(fd) };
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_anchorNative(_: JNIEnv<'_>, _: JObject<'_>) {}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_validateSocketPathSecurity0(
    _: JNIEnv<'_>,
    _: JObject<'_>,
    _: JString<'_>,
    _: jint,
) {
    // Judges keep their sockets below temporary directories.
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_bind0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    path: JString<'_>,
) -> jint {
    native(env, |env| {
        let path = text(env, &path)?;
        let (address, fd) = (address(&path)?, socket()?);
        let _ = std::fs::remove_file(&path);
        let len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        // SAFETY: the address lives through the calls and has the length given.
        let bound = call(|| unsafe { libc::bind(fd, (&raw const address).cast(), len) } as isize)
            // SAFETY: no pointers.
            .and_then(|_| call(|| unsafe { libc::listen(fd, 128) } as isize))
            .and_then(|_| {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
                std::fs::set_permissions(&path, mode)
            });
        match bound {
            Ok(()) => Ok(fd),
            Err(error) => {
                close(fd);
                Err(socket_error(&format!("bind(2) to {path}"), error))
            }
        }
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_connect0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    path: JString<'_>,
) -> jint {
    native(env, |env| {
        let path = text(env, &path)?;
        let (address, fd) = (address(&path)?, socket()?);
        let len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        // SAFETY: the address lives through the call and has the length given.
        match call(|| unsafe { libc::connect(fd, (&raw const address).cast(), len) } as isize) {
            Ok(_) => Ok(fd),
            Err(error) => {
                close(fd);
                Err(socket_error(&format!("connect(2) to {path}"), error))
            }
        }
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_socketpair0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
) -> jintArray {
    native(env, |env| {
        let mut pair = [0; 2];
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        // SAFETY: there is room for two descriptors.
        let made = call(|| unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) } as isize);
        made.map_err(|error| failed(IO, "socketpair(2)", &error))?;
        let array = env.new_int_array(2)?;
        env.set_int_array_region(&array, 0, &pair)?;
        Ok(array.into_raw())
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_accept0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    fd: jint,
) -> jint {
    native(env, |_| {
        let null = std::ptr::null_mut();
        // SAFETY: no address is asked for.
        let accepted = call(|| unsafe { libc::accept4(fd, null, std::ptr::null_mut(), libc::SOCK_CLOEXEC) } as isize);
        Ok(accepted.map_err(|error| socket_error("accept(2)", error))? as jint)
    })
}

fn option(kind: jint) -> Native<libc::c_int> {
    Ok(match kind {
        SEND_BUFFER_SIZE => libc::SO_SNDBUF,
        RECEIVE_BUFFER_SIZE => libc::SO_RCVBUF,
        SEND_TIMEOUT => libc::SO_SNDTIMEO,
        RECEIVE_TIMEOUT => libc::SO_RCVTIMEO,
        other => {
            return Err(Thrown {
                class: IO,
                text: format!("no attribute {other}"),
            });
        }
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_setAttribute0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    fd: jint,
    kind: jint,
    value: jint,
) {
    native(env, |_| {
        let name = option(kind)?;
        let time = libc::timeval {
            tv_sec: (value / 1000).into(),
            tv_usec: (value % 1000 * 1000).into(),
        };
        let (pointer, len): (*const libc::c_void, usize) = match kind {
            SEND_TIMEOUT | RECEIVE_TIMEOUT => ((&raw const time).cast(), size_of::<libc::timeval>()),
            _ => ((&raw const value).cast(), size_of::<jint>()),
        };
        // SAFETY: the value lives through the call and has the length given.
        let set = call(|| unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, name, pointer, len as u32) } as isize);
        set.map(|_| ()).map_err(|error| socket_error("setsockopt(2)", error))
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_getAttribute0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    fd: jint,
    kind: jint,
) -> jint {
    native(env, |_| {
        let name = option(kind)?;
        let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
        let mut value: jint = 0;
        let timed = matches!(kind, SEND_TIMEOUT | RECEIVE_TIMEOUT);
        let (pointer, len): (*mut libc::c_void, usize) = match timed {
            true => ((&raw mut time).cast(), size_of::<libc::timeval>()),
            false => ((&raw mut value).cast(), size_of::<jint>()),
        };
        let mut len = len as libc::socklen_t;
        // SAFETY: there is room for as many bytes as said.
        let got = call(|| unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, pointer, &raw mut len) } as isize);
        got.map_err(|error| socket_error("getsockopt(2)", error))?;
        Ok(match timed {
            true => (time.tv_sec * 1000 + time.tv_usec / 1000) as jint,
            // The kernel doubles what it was told.
            false => value / 2,
        })
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_close0(_: JNIEnv<'_>, _: JObject<'_>, fd: jint) {
    close(fd);
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_closeFileDescriptor0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    descriptor: JObject<'_>,
) {
    native(env, |env| {
        close(number_of(env, &descriptor)?);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_shutdown0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    fd: jint,
) {
    native(env, |_| {
        // SAFETY: no pointers.
        match call(|| unsafe { libc::shutdown(fd, libc::SHUT_RDWR) } as isize) {
            Err(error) if error.raw_os_error() != Some(libc::ENOTCONN) => Err(socket_error("shutdown(2)", error)),
            _ => Ok(()),
        }
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_sendFileDescriptors0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    fd: jint,
    descriptors: JObjectArray<'_>,
    bytes: JByteArray<'_>,
    offset: jint,
    len: jint,
) {
    native(env, |env| {
        let count = env.get_array_length(&descriptors)?;
        let mut numbers = Vec::new();
        for index in 0..count {
            let each = env.get_object_array_element(&descriptors, index)?;
            numbers.push(number_of(env, &each)?);
        }
        let mut buffer = vec![0_i8; len as usize];
        env.get_byte_array_region(&bytes, offset, &mut buffer)?;
        let size = size_of_val(numbers.as_slice());
        // SAFETY: the buffers live through the call; the control message is built by the C library's macros in a buffer
        // with the room they ask for.
        unsafe {
            let mut part = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            let mut control = vec![0_u64; (libc::CMSG_SPACE(size as u32) as usize).div_ceil(8)];
            let mut message: libc::msghdr = zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(size as u32) as usize;
            let head = libc::CMSG_FIRSTHDR(&raw const message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(size as u32) as usize;
            std::ptr::copy_nonoverlapping(numbers.as_ptr().cast(), libc::CMSG_DATA(head), size);
            let sent = call(|| libc::sendmsg(fd, &raw const message, libc::MSG_NOSIGNAL));
            sent.map(|_| ()).map_err(|error| socket_error("sendmsg(2)", error))
        }
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_receiveFileDescriptors0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    fd: jint,
    descriptors: JObjectArray<'_>,
    bytes: JByteArray<'_>,
    offset: jint,
    len: jint,
) -> jint {
    native(env, |env| {
        let room = (env.get_array_length(&descriptors)? as usize).min(MAX_PASSED);
        let mut buffer = vec![0_i8; len as usize];
        let mut numbers: Vec<jint> = Vec::new();
        // SAFETY: as above; descriptors are taken out of the control message only as far as it says they are there.
        let count = unsafe {
            let mut part = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            let space = libc::CMSG_SPACE((room * size_of::<jint>()) as u32) as usize;
            let mut control = vec![0_u64; space.div_ceil(8)];
            let mut message: libc::msghdr = zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = space;
            let got = call(|| libc::recvmsg(fd, &raw mut message, libc::MSG_CMSG_CLOEXEC));
            let got = got.map_err(|error| socket_error("recvmsg(2)", error))?;
            let head = libc::CMSG_FIRSTHDR(&raw const message);
            if !head.is_null() && (*head).cmsg_type == libc::SCM_RIGHTS {
                let size = (*head).cmsg_len - libc::CMSG_LEN(0) as usize;
                for index in 0..size / size_of::<jint>() {
                    numbers.push(libc::CMSG_DATA(head).cast::<jint>().add(index).read_unaligned());
                }
            }
            got
        };
        for (index, number) in numbers.into_iter().enumerate() {
            let object = descriptor_of(env, number)?;
            env.set_object_array_element(&descriptors, index as jint, object)?;
        }
        if count == 0 {
            return Ok(-1);
        }
        env.set_byte_array_region(&bytes, offset, &buffer[..count as usize])?;
        Ok(count as jint)
    })
}

fn receive(fd: jint, buffer: &mut [i8]) -> Native<jint> {
    // SAFETY: there is room for as many bytes as said.
    let got = call(|| unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) });
    match got.map_err(|error| socket_error("read(2)", error))? {
        0 if !buffer.is_empty() => Ok(-1),
        count => Ok(count as jint),
    }
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_readArray0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    fd: jint,
    bytes: JByteArray<'_>,
    offset: jint,
    len: jint,
) -> jint {
    native(env, |env| {
        let mut buffer = vec![0; len as usize];
        let count = receive(fd, &mut buffer)?;
        env.set_byte_array_region(&bytes, offset, &buffer[..count.max(0) as usize])?;
        Ok(count)
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_readByteBufferDirect0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    fd: jint,
    buffer: JByteBuffer<'_>,
    position: jint,
    remaining: jint,
) -> jint {
    native(env, |env| {
        let start = env.get_direct_buffer_address(&buffer)?;
        // SAFETY: Java says that so many bytes of the buffer remain from the position on.
        let room = unsafe { std::slice::from_raw_parts_mut(start.add(position as usize).cast(), remaining as usize) };
        receive(fd, room)
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_available0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    fd: jint,
) -> jint {
    native(env, |_| {
        let mut count: libc::c_int = 0;
        // SAFETY: there is room for the answer.
        let asked = call(|| unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut count) } as isize);
        asked.map(|_| count).map_err(|error| socket_error("ioctl(2)", error))
    })
}

fn send(fd: jint, mut left: &[i8]) -> Native<()> {
    while !left.is_empty() {
        // SAFETY: so many bytes are there.
        let sent = call(|| unsafe { libc::send(fd, left.as_ptr().cast(), left.len(), libc::MSG_NOSIGNAL) });
        left = &left[sent.map_err(|error| socket_error("write(2)", error))? as usize..];
    }
    Ok(())
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_write0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    fd: jint,
    byte: jint,
) {
    native(env, |_| send(fd, &[byte as i8]))
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocket_writeArray0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    fd: jint,
    bytes: JByteArray<'_>,
    offset: jint,
    len: jint,
) {
    native(env, |env| {
        let mut buffer = vec![0; len as usize];
        env.get_byte_array_region(&bytes, offset, &mut buffer)?;
        send(fd, &buffer)
    })
}
