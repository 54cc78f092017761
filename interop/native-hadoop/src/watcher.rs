//! `org.apache.hadoop.net.unix.DomainSocketWatcher`: poll(2) over a set that Java keeps by an address.

use crate::{Native, call, failed, native};
use jni::JNIEnv;
use jni::objects::JObject;
use jni::sys::{jint, jintArray, jlong};

type Set = Vec<libc::pollfd>;

fn set<'a>(env: &mut JNIEnv<'_>, object: &JObject<'_>) -> Native<&'a mut Set> {
    let address = env.get_field(object, "data", "J")?.j()?;
    // SAFETY: the address is one that `alloc0` gave; only the watcher's thread uses the set, as in Hadoop.
    Ok(unsafe { &mut *(address as *mut Set) })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocketWatcher_anchorNative(_: JNIEnv<'_>, _: JObject<'_>) {
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocketWatcher_00024FdSet_alloc0(
    _: JNIEnv<'_>,
    _: JObject<'_>,
) -> jlong {
    Box::into_raw(Box::<Set>::default()) as jlong
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocketWatcher_00024FdSet_add(
    env: JNIEnv<'_>,
    object: JObject<'_>,
    fd: jint,
) {
    native(env, |env| {
        set(env, &object)?.push(libc::pollfd {
            fd,
            events: libc::POLLIN | libc::POLLHUP,
            revents: 0,
        });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocketWatcher_00024FdSet_remove(
    env: JNIEnv<'_>,
    object: JObject<'_>,
    fd: jint,
) {
    native(env, |env| {
        set(env, &object)?.retain(|each| each.fd != fd);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocketWatcher_00024FdSet_getAndClearReadableFds(
    env: JNIEnv<'_>,
    object: JObject<'_>,
) -> jintArray {
    native(env, |env| {
        let mut ready = Vec::new();
        for each in set(env, &object)? {
            if each.revents != 0 {
                ready.push(each.fd);
            }
            each.revents = 0;
        }
        let array = env.new_int_array(ready.len() as jint)?;
        env.set_int_array_region(&array, 0, &ready)?;
        Ok(array.into_raw())
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocketWatcher_00024FdSet_close(
    env: JNIEnv<'_>,
    object: JObject<'_>,
) {
    native(env, |env| {
        let address = env.get_field(&object, "data", "J")?.j()?;
        if address != 0 {
            env.set_field(&object, "data", "J", 0_i64.into())?;
            // SAFETY: the address is one that `alloc0` gave, and nobody has it any more.
            drop(unsafe { Box::from_raw(address as *mut Set) });
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_net_unix_DomainSocketWatcher_doPoll0(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    patience_ms: jint,
    object: JObject<'_>,
) -> jint {
    native(env, |env| {
        let set = set(env, &object)?;
        // SAFETY: the set has as many entries as said.
        let ready = call(|| unsafe { libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, patience_ms) } as isize);
        Ok(ready.map_err(|error| failed("java/io/IOException", "poll(2)", &error))? as jint)
    })
}
