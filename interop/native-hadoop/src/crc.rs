//! `org.apache.hadoop.util.NativeCrc32`: checksums of chunks, which Java asks for natively as soon as there is a library.

use crate::{Native, Thrown, native, text};
use crc_fast::{CrcAlgorithm, checksum};
use jni::JNIEnv;
use jni::objects::{JByteArray, JByteBuffer, JObject, JString};
use jni::sys::{jboolean, jint, jlong};

fn sum(kind: jint, chunk: &[u8]) -> Native<[u8; 4]> {
    let algorithm = match kind {
        1 => CrcAlgorithm::Crc32IsoHdlc,
        2 => CrcAlgorithm::Crc32Iscsi,
        other => {
            return Err(Thrown {
                class: "java/lang/IllegalArgumentException",
                text: format!("no checksum type {other}"),
            });
        }
    };
    Ok((checksum(algorithm, chunk) as u32).to_be_bytes())
}

fn work(
    env: &mut JNIEnv<'_>,
    chunk: jint,
    kind: jint,
    sums: &mut [u8],
    data: &[u8],
    name: &JString<'_>,
    base: jlong,
    verify: bool,
) -> Native<()> {
    for (index, (bytes, stored)) in data.chunks(chunk as usize).zip(sums.chunks_exact_mut(4)).enumerate() {
        let computed = sum(kind, bytes)?;
        if !verify {
            stored.copy_from_slice(&computed);
        } else if stored != computed {
            let position = base + index as jlong * jlong::from(chunk);
            let name = text(env, name).unwrap_or_default();
            let message = format!("Checksum error: {name} at {position} exp: {stored:02x?} got: {computed:02x?}");
            let message = env.new_string(message)?;
            let class = "org/apache/hadoop/fs/ChecksumException";
            let error = env.new_object(class, "(Ljava/lang/String;J)V", &[(&message).into(), position.into()])?;
            env.throw(jni::objects::JThrowable::from(error))?;
            return Ok(());
        }
    }
    Ok(())
}

/// `len` bytes of a direct buffer from `offset` on.
fn direct<'a>(env: &JNIEnv<'_>, buffer: &JByteBuffer<'_>, offset: jint, len: usize) -> Native<&'a mut [u8]> {
    let start = env.get_direct_buffer_address(buffer)?;
    // SAFETY: Java says that so many bytes are there; nobody else uses them during the call.
    Ok(unsafe { std::slice::from_raw_parts_mut(start.add(offset as usize), len) })
}

fn on_buffers(
    env: &mut JNIEnv<'_>,
    (chunk, kind): (jint, jint),
    (sums, sums_at): (&JByteBuffer<'_>, jint),
    (data, data_at, len): (&JByteBuffer<'_>, jint, jint),
    (name, base): (&JString<'_>, jlong),
    verify: bool,
) -> Native<()> {
    let count = (len as usize).div_ceil(chunk as usize);
    let sums = direct(env, sums, sums_at, count * 4)?;
    let data = direct(env, data, data_at, len as usize)?;
    work(env, chunk, kind, sums, data, name, base, verify)
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_util_NativeCrc32_nativeVerifyChunkedSums(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    chunk: jint,
    kind: jint,
    sums: JByteBuffer<'_>,
    sums_at: jint,
    data: JByteBuffer<'_>,
    data_at: jint,
    len: jint,
    name: JString<'_>,
    base: jlong,
) {
    native(env, |env| {
        on_buffers(
            env,
            (chunk, kind),
            (&sums, sums_at),
            (&data, data_at, len),
            (&name, base),
            true,
        )
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_util_NativeCrc32_nativeComputeChunkedSums(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    chunk: jint,
    kind: jint,
    sums: JByteBuffer<'_>,
    sums_at: jint,
    data: JByteBuffer<'_>,
    data_at: jint,
    len: jint,
    name: JString<'_>,
    base: jlong,
    verify: jboolean,
) {
    native(env, |env| {
        on_buffers(
            env,
            (chunk, kind),
            (&sums, sums_at),
            (&data, data_at, len),
            (&name, base),
            verify != 0,
        )
    })
}

#[unsafe(no_mangle)]
pub extern "system" fn Java_org_apache_hadoop_util_NativeCrc32_nativeComputeChunkedSumsByteArray(
    env: JNIEnv<'_>,
    _: JObject<'_>,
    chunk: jint,
    kind: jint,
    sums: JByteArray<'_>,
    sums_at: jint,
    data: JByteArray<'_>,
    data_at: jint,
    len: jint,
    name: JString<'_>,
    base: jlong,
    verify: jboolean,
) {
    native(env, |env| {
        let mut bytes = vec![0_i8; len as usize];
        env.get_byte_array_region(&data, data_at, &mut bytes)?;
        let mut stored = vec![0_i8; (len as usize).div_ceil(chunk as usize) * 4];
        env.get_byte_array_region(&sums, sums_at, &mut stored)?;
        let bytes: Vec<u8> = bytes.into_iter().map(|byte| byte as u8).collect();
        let mut sums_now: Vec<u8> = stored.into_iter().map(|byte| byte as u8).collect();
        work(env, chunk, kind, &mut sums_now, &bytes, &name, base, verify != 0)?;
        if verify == 0 {
            let out: Vec<i8> = sums_now.into_iter().map(|byte| byte as i8).collect();
            env.set_byte_array_region(&sums, sums_at, &out)?;
        }
        Ok(())
    })
}
