//! Recorded RPC connections.

use super::file;
use bytes::{Bytes, BytesMut};
use hadron_proto::common::RpcSaslProto;
use hadron_proto::common::rpc_sasl_proto::SaslState;
use hadron_proto::{Required, datanode, decode_checked, hdfs, protocol};
use hadron_types::ErrorKind;
use hadron_wire::rpc::preamble::PREAMBLE_LEN;
use hadron_wire::rpc::sasl::{SaslAnswer, answer_simple};
use hadron_wire::rpc::{
    AuthProtocol, CallEcho, FrameDecoder, FrameKind, Preamble, RequestFrame, Response, encode_call, encode_context,
    encode_fault, encode_success,
};
use prost::Message;

/// Decodes a message and encodes it again.
fn again<M: Message + Default + Required>(bytes: &Bytes) -> Vec<u8> {
    decode_checked::<M>(bytes.clone())
        .unwrap_or_else(|error| panic!("{}: {error}", M::SHAPE.name))
        .encode_to_vec()
}

macro_rules! methods {
    ($($method:literal => $request:ty, $response:ty;)*) => {
        fn request_again(method: &str, bytes: &Bytes) -> Vec<u8> {
            match method {
                $($method => again::<$request>(bytes),)*
                other => panic!("no request type for {other}"),
            }
        }
        fn response_again(method: &str, bytes: &Bytes) -> Vec<u8> {
            match method {
                $($method => again::<$response>(bytes),)*
                other => panic!("no response type for {other}"),
            }
        }
    };
}

methods! {
    "getFileInfo" => hdfs::GetFileInfoRequestProto, hdfs::GetFileInfoResponseProto;
    "create" => hdfs::CreateRequestProto, hdfs::CreateResponseProto;
    "addBlock" => hdfs::AddBlockRequestProto, hdfs::AddBlockResponseProto;
    "complete" => hdfs::CompleteRequestProto, hdfs::CompleteResponseProto;
    "rename" => hdfs::RenameRequestProto, hdfs::RenameResponseProto;
    "getListing" => hdfs::GetListingRequestProto, hdfs::GetListingResponseProto;
    "getBlockLocations" => hdfs::GetBlockLocationsRequestProto, hdfs::GetBlockLocationsResponseProto;
    "getServerDefaults" => hdfs::GetServerDefaultsRequestProto, hdfs::GetServerDefaultsResponseProto;
    "versionRequest" => hdfs::VersionRequestProto, hdfs::VersionResponseProto;
    "registerDatanode" => datanode::RegisterDatanodeRequestProto, datanode::RegisterDatanodeResponseProto;
    "sendHeartbeat" => datanode::HeartbeatRequestProto, datanode::HeartbeatResponseProto;
    "sendHeartbeat-invalidate" => datanode::HeartbeatRequestProto, datanode::HeartbeatResponseProto;
    "blockReport" => datanode::BlockReportRequestProto, datanode::BlockReportResponseProto;
    "blockReceivedAndDeleted" =>
        datanode::BlockReceivedAndDeletedRequestProto, datanode::BlockReceivedAndDeletedResponseProto;
}

/// Checks a client's side: each frame is understood and encoded again to the same bytes.
fn check_requests(name: &str, protocol: &str, methods: &str) {
    let lines = file::read(name);
    let mut decoder = FrameDecoder::new(1 << 20);
    let mut seen = Vec::new();
    for (line, bytes) in &lines {
        decoder.push(bytes);
        if line == "preamble" {
            let preamble = Preamble::decode(decoder.buffered()).expect("served").expect("whole");
            assert_eq!(
                (preamble.auth, &preamble.encode()[..]),
                (AuthProtocol::None, &bytes[..])
            );
            decoder.skip(PREAMBLE_LEN);
            continue;
        }
        let frame = decoder.next_frame().expect("good length").expect("whole frame");
        let frame = RequestFrame::decode(frame).expect("good header");
        assert_eq!(frame.header.client_id.len(), 16);
        let mut out = BytesMut::new();
        match frame.kind {
            FrameKind::Context => {
                let context = frame.context().expect("good context");
                assert_eq!(context.protocol(), protocol);
                if frame.header.caller_context.is_some() {
                    // 3.x names the program in every header; our client leaves that to calls.
                    continue;
                }
                encode_context(&mut out, &frame.header.client_id, &context);
            }
            FrameKind::Call => {
                let call = frame.call().expect("good call");
                assert_eq!(call.header.declaring_class_protocol_name, protocol);
                assert_eq!(call.header.client_protocol_version, protocol::PROTOCOL_VERSION);
                let message = request_again(&call.header.method_name, &call.message);
                encode_call(&mut out, frame.header.clone(), &call.header, &message);
                seen.push(call.header.method_name);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(out, bytes, "{name}: {line}");
    }
    assert_eq!(seen.join(" "), methods);
}

/// Checks a server's side: each response is understood and encoded again to the same bytes.
fn check_responses(name: &str) -> Vec<(String, Bytes)> {
    let mut messages = Vec::new();
    for (method, bytes) in file::read(name) {
        let response = Response::decode(bytes.slice(4..)).expect("good response");
        let echo = CallEcho {
            call_id: response.call_id,
            client_id: response.header.client_id().to_vec().into(),
            retry_count: response.header.retry_count(),
        };
        let mut out = BytesMut::new();
        match &response.outcome {
            Ok(message) => {
                encode_success(&mut out, &echo, &response_again(&method, message));
                messages.push((method.clone(), message.clone()));
            }
            Err(fault) => encode_fault(&mut out, &echo, fault),
        }
        assert_eq!(out, bytes, "{name}: {method}");
    }
    messages
}

#[test]
fn clients_of_2_7_3_speak_as_we_do() {
    let methods = "getFileInfo getFileInfo getFileInfo create getFileInfo addBlock getServerDefaults complete rename \
                   getListing getBlockLocations";
    check_requests("rpc-client-2.7.3.hex", protocol::CLIENT_PROTOCOL, methods);
}

#[test]
fn clients_of_3_3_4_speak_as_we_do() {
    let methods = "getFileInfo getFileInfo getFileInfo create addBlock getServerDefaults complete getFileInfo rename \
                   getListing getBlockLocations";
    check_requests("rpc-client-3.3.4.hex", protocol::CLIENT_PROTOCOL, methods);
}

#[test]
fn name_nodes_answer_as_we_do() {
    for name in ["rpc-namenode-to-2.7.3.hex", "rpc-namenode-to-3.3.4.hex"] {
        let messages = check_responses(name);
        let of = |wanted: &str| {
            messages
                .iter()
                .find(|line| line.0 == wanted)
                .expect("recorded")
                .1
                .clone()
        };
        let listing: hdfs::GetListingResponseProto = decode_checked(of("getListing")).expect("good");
        let listing = listing.dir_list.expect("a listing");
        assert_eq!(&listing.partial_listing[0].path[..], b"f");
        let located: hdfs::GetBlockLocationsResponseProto = decode_checked(of("getBlockLocations")).expect("good");
        let located = located.locations.expect("locations");
        assert_eq!((located.file_length, located.is_last_block_complete), (1500, true));
        assert_eq!(located.blocks[0].locs.len(), 2);
    }
}

#[test]
fn data_nodes_and_their_name_node_speak_as_we_do() {
    check_requests(
        "datanode-2.7.3.hex",
        protocol::DATANODE_PROTOCOL,
        "versionRequest registerDatanode sendHeartbeat blockReport blockReceivedAndDeleted",
    );
    let messages = check_responses("namenode-to-datanode-2.7.3.hex");
    let last = messages.last().expect("recorded").1.clone();
    let heartbeat: datanode::HeartbeatResponseProto = decode_checked(last).expect("good");
    let command = heartbeat.cmds[0].blk_cmd.as_ref().expect("a block command");
    assert_eq!(command.action(), datanode::block_command_proto::Action::Invalidate);
    assert_eq!(command.blocks.len(), 1);
}

#[test]
fn errors_keep_class_and_text() {
    check_responses("rpc-error-2.7.3.hex");
    let (_, bytes) = file::read("rpc-error-2.7.3.hex").remove(0);
    let fault = Response::decode(bytes.slice(4..))
        .expect("good")
        .outcome
        .expect_err("an error");
    assert_eq!(fault.error.kind, ErrorKind::AccessControl);
    assert_eq!(
        fault.error.first_line(),
        "Permission denied: user=bob, access=WRITE, inode=\"/nope\":root:supergroup:drwxr-xr-x"
    );
}

/// What was sent and what came back in the case `name` of the refusals.
fn refusal(name: &str) -> (Bytes, Bytes) {
    let lines = file::read("rpc-refusals-2.7.3.hex");
    let one = |suffix: char| file::all(&lines, &format!("{name}{suffix}")).remove(0);
    (one('>'), one('<'))
}

#[test]
fn openings_are_refused_with_the_same_bytes() {
    for version in ["1", "2", "3", "4", "8", "10", "127", "200"] {
        let (sent, received) = refusal(&format!("version-{version}"));
        let refused = Preamble::decode(&sent).expect_err("another version");
        assert_eq!(refused.reply(), received, "{version}");
    }
    let (sent, received) = refusal("bad-magic");
    assert_eq!(Preamble::decode(&sent).expect_err("no magic").reply(), received);
}

/// What we answer to the last frame of `sent`, which is read after the preamble.
fn answer_to_last_frame(sent: &Bytes) -> BytesMut {
    let mut decoder = FrameDecoder::new(1 << 20);
    decoder.push(&sent[PREAMBLE_LEN..]);
    let mut last = None;
    while let Some(frame) = decoder.next_frame().expect("good length") {
        last = Some(frame);
    }
    let frame = RequestFrame::decode(last.expect("a frame"));
    let rejection = frame.and_then(|frame| frame.call()).expect_err("refused");
    let mut out = BytesMut::new();
    rejection.encode(&mut out);
    out
}

#[test]
fn broken_frames_are_refused_with_the_same_bytes() {
    for name in [
        "oob",
        "no-op",
        "op-1",
        "no-kind",
        "kind-0",
        "no-callid",
        "empty-frame",
        "no-reqheader-fields",
    ] {
        let (sent, received) = refusal(name);
        assert_eq!(answer_to_last_frame(&sent), received, "{name}");
    }
}

#[test]
fn undecodable_frames_are_refused_alike_but_for_the_cause() {
    for name in ["garbage-header", "garbage-reqheader", "missing-message"] {
        let (sent, received) = refusal(name);
        let fault = |bytes: &Bytes| {
            let response = Response::decode(bytes.slice(4..)).expect("good response");
            let fault = response.outcome.expect_err("a fault");
            let start: String = fault
                .error
                .message
                .chars()
                .take_while(|letter| *letter != ':')
                .collect();
            (response.call_id, fault.fatal, fault.detail, fault.error.kind, start)
        };
        assert_eq!(fault(&answer_to_last_frame(&sent).freeze()), fault(&received), "{name}");
    }
}

#[test]
fn missing_fields_are_named_as_java_names_them() {
    fn text<M: Message + Default + Required + std::fmt::Debug>(bytes: Bytes) -> String {
        decode_checked::<M>(bytes).expect_err("incomplete").to_string()
    }
    for (name, ours) in [
        (
            "missing-required",
            text::<hdfs::GetFileInfoRequestProto> as fn(Bytes) -> String,
        ),
        ("missing-nested", text::<hdfs::CompleteRequestProto>),
        ("missing-many", text::<hdfs::CreateRequestProto>),
    ] {
        let (sent, received) = refusal(name);
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.push(&sent[PREAMBLE_LEN..]);
        decoder.next_frame().expect("good").expect("the context");
        let frame = RequestFrame::decode(decoder.next_frame().expect("good").expect("the call")).expect("good header");
        let fault = Response::decode(received.slice(4..))
            .expect("good")
            .outcome
            .expect_err("a fault");
        assert_eq!(
            ours(frame.call().expect("good call").message),
            fault.error.first_line(),
            "{name}"
        );
    }
}

#[test]
fn sasl_steps_are_refused_in_the_same_words() {
    for name in ["sasl-initiate-none", "sasl-challenge", "sasl-wrap"] {
        let (sent, received) = refusal(name);
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.push(&sent[PREAMBLE_LEN..]);
        let mut step = RpcSaslProto::default();
        while let Some(frame) = decoder.next_frame().expect("good length") {
            step = RequestFrame::decode(frame)
                .expect("good header")
                .sasl()
                .expect("good step");
        }
        let SaslAnswer::Refuse(fault) = answer_simple(&step, true) else {
            panic!("{name}: not refused");
        };
        let mut frames = FrameDecoder::new(1 << 20);
        frames.push(&received);
        let mut last = None;
        while let Some(frame) = frames.next_frame().expect("good length") {
            last = Some(Response::decode(frame).expect("good response"));
        }
        assert_eq!(last.expect("an answer").outcome.expect_err("a fault"), fault, "{name}");
    }
}

#[test]
fn the_offer_of_a_name_node_with_tokens_is_understood() {
    let (_, received) = refusal("sasl-negotiate");
    let response = Response::decode(received.slice(4..)).expect("good response");
    let offer: RpcSaslProto = decode_checked(response.outcome.expect("success")).expect("good offer");
    assert_eq!(offer.state(), SaslState::Negotiate);
    let methods: Vec<&str> = offer.auths.iter().map(|auth| auth.method.as_str()).collect();
    assert_eq!(methods, ["TOKEN", "SIMPLE"]);
}
