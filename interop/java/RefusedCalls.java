/*
 * Makes NameNode calls that must fail, through the stock client's own protocol proxy, and prints one line for each: the
 * case's name, the exception's class as it came over the wire, whether the client re-creates that class, and the first
 * line of its message, separated by tabs. A call that does not fail prints "none" as class.
 *
 * Arguments: the file system's URL, then key=value settings.
 */

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.security.PrivilegedExceptionAction;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.concurrent.Callable;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.crypto.CryptoProtocolVersion;
import org.apache.hadoop.fs.CacheFlag;
import org.apache.hadoop.fs.CreateFlag;
import org.apache.hadoop.fs.Options;
import org.apache.hadoop.fs.StorageType;
import org.apache.hadoop.fs.XAttr;
import org.apache.hadoop.fs.XAttrSetFlag;
import org.apache.hadoop.fs.permission.AclEntry;
import org.apache.hadoop.fs.permission.FsAction;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.ha.HAServiceProtocol;
import org.apache.hadoop.ha.protocolPB.HAServiceProtocolClientSideTranslatorPB;
import org.apache.hadoop.hdfs.DFSClient;
import org.apache.hadoop.hdfs.protocol.CacheDirectiveInfo;
import org.apache.hadoop.hdfs.protocol.CachePoolInfo;
import org.apache.hadoop.hdfs.protocol.ClientProtocol;
import org.apache.hadoop.hdfs.protocol.DatanodeInfo;
import org.apache.hadoop.hdfs.protocol.ExtendedBlock;
import org.apache.hadoop.hdfs.protocol.HdfsConstants;
import org.apache.hadoop.hdfs.protocol.HdfsFileStatus;
import org.apache.hadoop.hdfs.protocol.LocatedBlock;
import org.apache.hadoop.io.EnumSetWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.ipc.RemoteException;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.security.token.Token;

public final class RefusedCalls {
    private static final String BASE = "/judge-ex";
    private static final FsPermission MODE = new FsPermission((short) 0755);
    private static final long MIB = 1 << 20;

    private static Configuration conf;
    private static URI uri;
    private static ClientProtocol nn;
    private static ClientProtocol stranger;

    private interface Action {
        Object run() throws Exception;
    }

    private static String oneLine(String text) {
        return text == null ? "null" : text.split("\n", 2)[0].replace('\t', ' ').trim();
    }

    private static void expect(String name, Action action) {
        String kind = "none";
        String made = "-";
        String message = "";
        try {
            message = String.valueOf(action.run());
        } catch (RemoteException remote) {
            kind = remote.getClassName();
            made = String.valueOf(remote.unwrapRemoteException().getClass().getName().equals(kind));
            message = remote.getMessage();
        } catch (Throwable other) {
            kind = "local " + other.getClass().getName();
            message = other.getMessage();
        }
        System.out.println(name + "\t" + kind + "\t" + made + "\t" + oneLine(message));
    }

    private static ClientProtocol proxy(UserGroupInformation who) throws Exception {
        return who.doAs((PrivilegedExceptionAction<ClientProtocol>) () -> new DFSClient(uri, conf).getNamenode());
    }

    private static HdfsFileStatus create(ClientProtocol by, String path, String client, boolean parents, long blockSize, int replicas, CreateFlag... flags)
            throws IOException {
        EnumSetWritable<CreateFlag> how = new EnumSetWritable<>(EnumSet.copyOf(Arrays.asList(flags)));
        return by.create(path, MODE, client, how, parents, (short) replicas, blockSize, CryptoProtocolVersion.supported(), null, null);
    }

    private static HdfsFileStatus create(String path, String client) throws IOException {
        return create(nn, path, client, false, MIB, 1, CreateFlag.CREATE);
    }

    private static void file(String path) throws IOException {
        HdfsFileStatus made = create(path, "maker");
        if (!nn.complete(path, "maker", null, made.getFileId())) {
            throw new IOException("cannot close " + path);
        }
    }

    private static Object append(String path, String client) throws IOException {
        return nn.append(path, client, new EnumSetWritable<>(EnumSet.of(CreateFlag.APPEND)));
    }

    private static LocatedBlock add(HdfsFileStatus file, String path, String client, ExtendedBlock previous) throws IOException {
        return nn.addBlock(path, client, previous, null, file.getFileId(), null, null);
    }

    private static String at(String name) {
        return BASE + "/" + name;
    }

    private static void paths() throws Exception {
        String none = at("none");
        expect("locations of nothing", () -> nn.getBlockLocations(none, 0, 1));
        expect("locations of a directory", () -> nn.getBlockLocations(at("dir"), 0, 1));
        expect("locations at a negative offset", () -> nn.getBlockLocations(at("file"), -1, 1));
        expect("chmod of nothing", () -> { nn.setPermission(none, MODE); return null; });
        expect("chown of nothing", () -> { nn.setOwner(none, "a", null); return null; });
        expect("times of nothing", () -> { nn.setTimes(none, 1, 1); return null; });
        expect("summary of nothing", () -> nn.getContentSummary(none));
        expect("block size of nothing", () -> nn.getPreferredBlockSize(none));
        expect("is nothing closed", () -> nn.isFileClosed(none));
        expect("recover nothing", () -> nn.recoverLease(none, "c"));
        expect("append to nothing", () -> append(none, "c"));
        expect("append to a directory", () -> append(at("dir"), "c"));
        expect("access to nothing", () -> { nn.checkAccess(none, FsAction.READ); return null; });
        expect("mkdir without parent", () -> nn.mkdirs(at("no/such"), MODE, false));
        expect("create without parent", () -> create(at("no/such"), "c"));
        expect("create over a file", () -> create(at("file"), "c"));
        expect("create over a directory", () -> create(at("dir"), "c"));
        expect("overwrite of nothing", () -> create(nn, none, "c", false, MIB, 1, CreateFlag.OVERWRITE));
        expect("mkdir over a file", () -> nn.mkdirs(at("file"), MODE, false));
        expect("mkdir below a file", () -> nn.mkdirs(at("file/x"), MODE, true));
        expect("create below a file", () -> create(nn, at("file/x"), "c", true, MIB, 1, CreateFlag.CREATE));
        expect("info below a file", () -> nn.getFileInfo(at("file/x")));
        expect("delete of a full directory", () -> nn.delete(at("full"), false));
        expect("rename2 of nothing", () -> { nn.rename2(none, at("n"), Options.Rename.NONE); return null; });
        expect("rename2 onto a file", () -> { nn.rename2(at("file"), at("file2"), Options.Rename.NONE); return null; });
        expect("rename2 onto itself", () -> { nn.rename2(at("file"), at("file"), Options.Rename.NONE); return null; });
        expect("rename2 onto a full directory", () -> { nn.rename2(at("dir"), at("full"), Options.Rename.OVERWRITE); return null; });
        expect("rename2 of a file onto a directory", () -> { nn.rename2(at("file"), at("dir"), Options.Rename.OVERWRITE); return null; });
        expect("rename2 of a directory onto a file", () -> { nn.rename2(at("dir"), at("file"), Options.Rename.OVERWRITE); return null; });
        expect("rename2 below itself", () -> { nn.rename2(at("full"), at("full/x"), Options.Rename.NONE); return null; });
        expect("rename2 to a missing parent", () -> { nn.rename2(at("file"), at("no/x"), Options.Rename.NONE); return null; });
        expect("rename2 to below a file", () -> { nn.rename2(at("file2"), at("file/x"), Options.Rename.NONE); return null; });
        expect("rename2 of the root", () -> { nn.rename2("/", at("x"), Options.Rename.NONE); return null; });
        expect("rename2 onto the root", () -> { nn.rename2(at("file"), "/", Options.Rename.NONE); return null; });
        expect("mkdir with a colon", () -> nn.mkdirs(at("a:b"), MODE, true));
        expect("mkdir with an empty name", () -> nn.mkdirs(BASE + "//a", MODE, true));
        expect("mkdir of a relative path", () -> nn.mkdirs("a", MODE, true));
        expect("mkdir with dots", () -> nn.mkdirs(at("../a"), MODE, true));
        expect("create with a colon", () -> create(at("a:b"), "c"));
        expect("rename to a colon", () -> nn.rename(at("file"), at("a:b")));
        expect("a long name", () -> nn.mkdirs(at("n".repeat(256)), MODE, true));
        expect("a full directory", () -> nn.mkdirs(at("crowd/one-more"), MODE, true));
        expect("create in a full directory", () -> create(at("crowd/one-more"), "c"));
        expect("link of a file", () -> nn.getLinkTarget(at("file")));
        expect("a symlink", () -> { nn.createSymlink("/target", at("link"), MODE, false); return null; });
        expect("a small block size", () -> create(nn, at("x"), "c", false, 1000, 1, CreateFlag.CREATE));
        expect("too many replicas", () -> create(nn, at("x"), "c", false, MIB, 5000, CreateFlag.CREATE));
        expect("no replica", () -> create(nn, at("x"), "c", false, MIB, 0, CreateFlag.CREATE));
        expect("setrep beyond the limit", () -> nn.setReplication(at("file"), (short) 5000));
        expect("listing from a lost inode", () -> nn.getListing(at("full"), "/.reserved/.inodes/999999999".getBytes(), false));
        expect("mkdir in the reserved folder", () -> nn.mkdirs("/.reserved/x", MODE, true));
        expect("delete of the reserved folder", () -> nn.delete("/.reserved", true));
        expect("mkdir below a snapshot folder", () -> nn.mkdirs(at("dir/.snapshot/x"), MODE, true));
        expect("mkdir of a snapshot folder", () -> nn.mkdirs(at("dir/.snapshot"), MODE, true));
        expect("info by a lost inode", () -> nn.getFileInfo("/.reserved/.inodes/999999999"));
        expect("locations by a lost inode", () -> nn.getBlockLocations("/.reserved/.inodes/999999999", 0, 1));
        expect("create by an inode", () -> create("/.reserved/.inodes/x", "c"));
    }

    private static void writers() throws Exception {
        String open = at("open");
        HdfsFileStatus made = create(open, "first");
        expect("create of an open file", () -> create(nn, open, "second", false, MIB, 1, CreateFlag.CREATE, CreateFlag.OVERWRITE));
        create(at("open2"), "first");
        expect("create without overwrite of an open file", () -> create(at("open2"), "second"));
        HdfsFileStatus third = create(at("open3"), "first");
        expect("append to an open file", () -> append(at("open3"), "second"));
        expect("append to one's own open file", () -> append(at("open3"), "first"));
        expect("truncate of an open file", () -> nn.truncate(at("open3"), 0, "second"));
        expect("addBlock by another", () -> add(third, at("open3"), "second", null));
        expect("addBlock by nobody", () -> add(third, at("open3"), "nobody", null));
        HdfsFileStatus closed = nn.getFileInfo(at("file"));
        expect("addBlock to a closed file", () -> add(closed, at("file"), "first", null));
        expect("addBlock to nothing", () -> nn.addBlock(at("none"), "first", null, null, 0, null, null));
        expect("addBlock to a lost inode", () -> nn.addBlock(at("none"), "first", null, null, 999999999, null, null));
        expect("addBlock to a directory", () -> nn.addBlock(at("dir"), "first", null, null, nn.getFileInfo(at("dir")).getFileId(), null, null));
        expect("complete by another", () -> nn.complete(at("open3"), "second", null, third.getFileId()));
        expect("complete of nothing", () -> nn.complete(at("none"), "first", null, 0));
        expect("fsync by another", () -> { nn.fsync(at("open3"), third.getFileId(), "second", -1); return null; });
        expect("fsync of nothing", () -> { nn.fsync(at("none"), 0, "first", -1); return null; });
        LocatedBlock block = add(third, at("open3"), "first", null);
        expect("abandon by another", () -> { nn.abandonBlock(block.getBlock(), third.getFileId(), at("open3"), "second"); return null; });
        expect("additional node for another", () -> nn.getAdditionalDatanode(at("open3"), third.getFileId(), block.getBlock(),
            block.getLocations(), block.getStorageIDs(), new DatanodeInfo[0], 1, "second"));
        expect("new stamp for another", () -> nn.updateBlockForPipeline(block.getBlock(), "second"));
        ExtendedBlock lost = new ExtendedBlock(block.getBlock().getBlockPoolId(), 77, 1, 77);
        expect("new stamp for a lost block", () -> nn.updateBlockForPipeline(lost, "first"));
        expect("pipeline of a lost block", () -> { nn.updatePipeline("first", lost, lost, block.getLocations(), block.getStorageIDs()); return null; });
        expect("addBlock behind a lost block", () -> add(third, at("open3"), "first", lost));
        ExtendedBlock written = new ExtendedBlock(block.getBlock());
        written.setNumBytes(MIB);
        ExtendedBlock second = new ExtendedBlock(add(third, at("open3"), "first", written).getBlock());
        second.setNumBytes(MIB);
        expect("addBlock before replicas", () -> add(third, at("open3"), "first", second));
        HdfsFileStatus fourth = create(at("open4"), "fourth");
        expect("addBlock with all nodes excluded", () -> nn.addBlock(at("open4"), "fourth", null,
            nn.getDatanodeReport(HdfsConstants.DatanodeReportType.LIVE), fourth.getFileId(), null, null));
        HdfsFileStatus fifth = create(at("open5"), "fifth");
        add(fifth, at("open5"), "fifth", null);
        nn.recoverLease(at("open5"), "sixth");
        expect("append under recovery", () -> append(at("open5"), "seventh"));
        expect("concat with nothing", () -> { nn.concat(at("file"), new String[0]); return null; });
        expect("concat of a file that is not there", () -> { nn.concat(at("file"), new String[] {at("none")}); return null; });
        expect("concat onto itself", () -> { nn.concat(at("file"), new String[] {at("file")}); return null; });
        expect("concat of a directory", () -> { nn.concat(at("file"), new String[] {at("dir")}); return null; });
        expect("concat onto a directory", () -> { nn.concat(at("dir"), new String[] {at("file")}); return null; });
        expect("truncate below nothing", () -> nn.truncate(at("file"), -1, "c"));
        expect("truncate to more", () -> nn.truncate(at("file"), 100, "c"));
        expect("truncate of nothing", () -> nn.truncate(at("none"), 0, "c"));
        expect("truncate of a directory", () -> nn.truncate(at("dir"), 0, "c"));
    }

    private static void limits() throws Exception {
        nn.mkdirs(at("q"), MODE, true);
        expect("quota of a file", () -> { nn.setQuota(at("file"), 5, 5, null); return null; });
        expect("quota of nothing", () -> { nn.setQuota(at("none"), 5, 5, null); return null; });
        expect("a negative quota", () -> { nn.setQuota(at("q"), -5, 5, null); return null; });
        expect("a quota of the root cleared", () -> { nn.setQuota("/", HdfsConstants.QUOTA_RESET, HdfsConstants.QUOTA_DONT_SET, null); return null; });
        nn.setQuota(at("q"), 2, HdfsConstants.QUOTA_DONT_SET, null);
        file(at("q/one"));
        expect("more names than the quota", () -> nn.mkdirs(at("q/two"), MODE, true));
        expect("a file beyond the quota", () -> create(at("q/two"), "c"));
        expect("rename into a full quota", () -> { nn.rename2(at("file"), at("q/two"), Options.Rename.NONE); return null; });
        nn.mkdirs(at("s"), MODE, true);
        nn.setQuota(at("s"), HdfsConstants.QUOTA_DONT_SET, MIB / 2, null);
        HdfsFileStatus made = create(at("s/one"), "c");
        expect("more bytes than the quota", () -> add(made, at("s/one"), "c", null));
        nn.mkdirs(at("t"), MODE, true);
        nn.setStoragePolicy(at("t"), "HOT");
        nn.setQuota(at("t"), HdfsConstants.QUOTA_DONT_SET, MIB / 2, StorageType.DISK);
        HdfsFileStatus typed = create(at("t/one"), "c");
        expect("more bytes than the quota of a type", () -> add(typed, at("t/one"), "c", null));
        expect("an unknown policy", () -> { nn.setStoragePolicy(at("q"), "LUKEWARM"); return null; });
        expect("a policy for nothing", () -> { nn.setStoragePolicy(at("none"), "HOT"); return null; });
        expect("the policy of nothing", () -> nn.getStoragePolicy(at("none")));
    }

    private static void attributes() throws Exception {
        AclEntry inherited = AclEntry.parseAclEntry("default:user:bob:rwx", true);
        expect("a default ACL on a file", () -> { nn.modifyAclEntries(at("file"), List.of(inherited)); return null; });
        expect("an ACL without its base", () -> { nn.setAcl(at("file"), List.of(AclEntry.parseAclEntry("user:bob:rwx", true))); return null; });
        expect("an ACL on nothing", () -> { nn.modifyAclEntries(at("none"), List.of(inherited)); return null; });
        expect("the ACL of nothing", () -> nn.getAclStatus(at("none")));
        XAttr colour = new XAttr.Builder().setNameSpace(XAttr.NameSpace.USER).setName("colour").setValue(new byte[] {1}).build();
        XAttr system = new XAttr.Builder().setNameSpace(XAttr.NameSpace.SYSTEM).setName("colour").setValue(new byte[] {1}).build();
        XAttr large = new XAttr.Builder().setNameSpace(XAttr.NameSpace.USER).setName("large").setValue(new byte[20_000]).build();
        EnumSet<XAttrSetFlag> both = EnumSet.of(XAttrSetFlag.CREATE, XAttrSetFlag.REPLACE);
        nn.setXAttr(at("file"), colour, both);
        expect("an attribute that is there already", () -> { nn.setXAttr(at("file"), colour, EnumSet.of(XAttrSetFlag.CREATE)); return null; });
        expect("an attribute to replace is not there", () -> { nn.setXAttr(at("file2"), colour, EnumSet.of(XAttrSetFlag.REPLACE)); return null; });
        expect("a system attribute", () -> { nn.setXAttr(at("file"), system, both); return null; });
        expect("a large attribute", () -> { nn.setXAttr(at("file"), large, both); return null; });
        expect("an attribute on nothing", () -> { nn.setXAttr(at("none"), colour, both); return null; });
        expect("an attribute that is not there", () -> nn.getXAttrs(at("file2"), List.of(colour)));
        XAttr taste = new XAttr.Builder().setNameSpace(XAttr.NameSpace.USER).setName("taste").build();
        expect("another attribute that is not there", () -> nn.getXAttrs(at("file"), List.of(taste)));
        expect("removal of an attribute that is not there", () -> { nn.removeXAttr(at("file2"), colour); return null; });
        expect("attributes of nothing", () -> nn.getXAttrs(at("none"), null));
    }

    private static void strangers() throws Exception {
        expect("a stranger's mkdir", () -> stranger.mkdirs(at("theirs"), MODE, true));
        expect("a stranger's create", () -> create(stranger, at("theirs"), "c", false, MIB, 1, CreateFlag.CREATE));
        expect("a stranger's delete", () -> stranger.delete(at("file"), false));
        expect("a stranger's rename", () -> stranger.rename(at("file"), at("n")));
        expect("a stranger's rename2", () -> { stranger.rename2(at("file"), at("n"), Options.Rename.NONE); return null; });
        expect("a stranger's chmod", () -> { stranger.setPermission(at("file"), MODE); return null; });
        expect("a stranger's chown", () -> { stranger.setOwner(at("file"), "mallory", null); return null; });
        expect("a stranger's chgrp", () -> { stranger.setOwner(at("file"), null, "mallory"); return null; });
        expect("a stranger's setrep", () -> stranger.setReplication(at("file"), (short) 2));
        expect("a stranger's times", () -> { stranger.setTimes(at("file"), 1, 1); return null; });
        expect("a stranger's append", () -> stranger.append(at("file"), "c", new EnumSetWritable<>(EnumSet.of(CreateFlag.APPEND))));
        expect("a stranger's truncate", () -> stranger.truncate(at("file"), 0, "c"));
        expect("a stranger's read", () -> stranger.getBlockLocations(at("private/file"), 0, 1));
        expect("a stranger's look", () -> stranger.getFileInfo(at("private/file")));
        expect("a stranger's look below a file", () -> stranger.getFileInfo(at("file/x")));
        expect("a stranger's listing", () -> stranger.getListing(at("private"), new byte[0], false));
        expect("a stranger's summary", () -> stranger.getContentSummary(at("private")));
        expect("a stranger's access", () -> { stranger.checkAccess(at("file"), FsAction.WRITE); return null; });
        expect("a stranger's delete in a sticky folder", () -> stranger.delete(at("sticky/file"), false));
        expect("a stranger's rename in a sticky folder", () -> stranger.rename(at("sticky/file"), at("sticky/x")));
        expect("a stranger's ACL", () -> { stranger.modifyAclEntries(at("file"), List.of(AclEntry.parseAclEntry("user:mallory:rwx", true))); return null; });
        expect("a stranger's attribute", () -> { stranger.setXAttr(at("file"), new XAttr.Builder().setNameSpace(XAttr.NameSpace.USER)
            .setName("a").setValue(new byte[] {1}).build(), EnumSet.of(XAttrSetFlag.CREATE)); return null; });
        expect("a stranger's trusted attribute", () -> { stranger.setXAttr(at("file"), new XAttr.Builder().setNameSpace(XAttr.NameSpace.TRUSTED)
            .setName("a").setValue(new byte[] {1}).build(), EnumSet.of(XAttrSetFlag.CREATE)); return null; });
        expect("a stranger's policy", () -> { stranger.setStoragePolicy(at("dir"), "HOT"); return null; });
        expect("a stranger's quota", () -> { stranger.setQuota(at("dir"), 5, 5, null); return null; });
        expect("a stranger's safe mode", () -> stranger.setSafeMode(HdfsConstants.SafeModeAction.SAFEMODE_ENTER, false));
        expect("a stranger's image", () -> stranger.saveNamespace(0, 0));
        expect("a stranger's roll", () -> stranger.rollEdits());
        expect("a stranger's refresh", () -> { stranger.refreshNodes(); return null; });
        expect("a stranger's finalize", () -> { stranger.finalizeUpgrade(); return null; });
        expect("a stranger's bandwidth", () -> { stranger.setBalancerBandwidth(1); return null; });
        expect("a stranger's metasave", () -> { stranger.metaSave("x"); return null; });
        expect("a stranger's node report", () -> stranger.getDatanodeReport(HdfsConstants.DatanodeReportType.LIVE).length);
        expect("a stranger's events", () -> stranger.getEditsFromTxid(1));
        expect("a stranger's upgrade", () -> stranger.rollingUpgrade(HdfsConstants.RollingUpgradeAction.PREPARE));
        expect("impersonation", () -> proxy(UserGroupInformation.createProxyUser("alice", UserGroupInformation.createRemoteUser("mallory")))
            .getFileInfo("/"));
    }

    private static void administration() throws Exception {
        expect("image outside safe mode", () -> nn.saveNamespace(0, 0));
        expect("snapshot of an ordinary folder", () -> nn.createSnapshot(at("dir"), "one"));
        expect("delete of a snapshot there", () -> { nn.deleteSnapshot(at("dir"), "one"); return null; });
        expect("rename of a snapshot there", () -> { nn.renameSnapshot(at("dir"), "one", "two"); return null; });
        expect("an encryption zone", () -> { nn.createEncryptionZone(at("dir"), "key"); return null; });
        expect("a directive without its pool", () -> nn.addCacheDirective(new CacheDirectiveInfo.Builder()
            .setPath(new org.apache.hadoop.fs.Path(at("file"))).setPool("none").build(), EnumSet.noneOf(CacheFlag.class)));
        expect("removal of a pool", () -> { nn.removeCachePool("none"); return null; });
        expect("erasure coding", () -> { nn.setErasureCodingPolicy(at("dir"), "RS-6-3-1024k"); return null; });
        expect("renewal of a token", () -> nn.renewDelegationToken(new Token<>()));
        expect("cancel of a token", () -> { nn.cancelDelegationToken(new Token<>()); return null; });
        InetSocketAddress address = new InetSocketAddress(InetAddress.getByName(uri.getHost()), uri.getPort());
        HAServiceProtocol ha = new HAServiceProtocolClientSideTranslatorPB(address, conf);
        HAServiceProtocol.StateChangeRequestInfo by = new HAServiceProtocol.StateChangeRequestInfo(HAServiceProtocol.RequestSource.REQUEST_BY_USER_FORCED);
        expect("HA: to active", () -> { ha.transitionToActive(by); return null; });
        expect("HA: to standby", () -> { ha.transitionToStandby(by); return null; });
        expect("HA: health", () -> { ha.monitorHealth(); return null; });
    }

    private static void safeMode() throws Exception {
        HdfsFileStatus open = create(at("open-safe"), "safe");
        nn.setSafeMode(HdfsConstants.SafeModeAction.SAFEMODE_ENTER, false);
        try {
            expect("safe mode: mkdir", () -> nn.mkdirs(at("x"), MODE, true));
            expect("safe mode: create", () -> create(at("x"), "c"));
            expect("safe mode: append", () -> append(at("file"), "c"));
            expect("safe mode: addBlock", () -> add(open, at("open-safe"), "safe", null));
            expect("safe mode: complete", () -> nn.complete(at("open-safe"), "safe", null, open.getFileId()));
            expect("safe mode: delete", () -> nn.delete(at("file"), false));
            expect("safe mode: rename", () -> nn.rename(at("file"), at("x")));
            expect("safe mode: rename2", () -> { nn.rename2(at("file"), at("x"), Options.Rename.NONE); return null; });
            expect("safe mode: chmod", () -> { nn.setPermission(at("file"), MODE); return null; });
            expect("safe mode: chown", () -> { nn.setOwner(at("file"), "a", null); return null; });
            expect("safe mode: setrep", () -> nn.setReplication(at("file"), (short) 2));
            expect("safe mode: times", () -> { nn.setTimes(at("file"), 1, 1); return null; });
            expect("safe mode: quota", () -> { nn.setQuota(at("dir"), 5, 5, null); return null; });
            expect("safe mode: concat", () -> { nn.concat(at("file"), new String[] {at("file2")}); return null; });
            expect("safe mode: truncate", () -> nn.truncate(at("file"), 0, "c"));
            expect("safe mode: policy", () -> { nn.setStoragePolicy(at("dir"), "HOT"); return null; });
            expect("safe mode: recover", () -> nn.recoverLease(at("open-safe"), "c"));
            expect("safe mode: ACL", () -> { nn.removeAcl(at("file")); return null; });
            expect("safe mode: attribute", () -> { nn.removeXAttr(at("file"), new XAttr.Builder().setNameSpace(XAttr.NameSpace.USER)
                .setName("colour").build()); return null; });
        } finally {
            nn.setSafeMode(HdfsConstants.SafeModeAction.SAFEMODE_LEAVE, false);
        }
    }

    public static void main(String[] arguments) throws Exception {
        conf = new Configuration();
        uri = new URI(arguments[0]);
        conf.set("fs.defaultFS", arguments[0]);
        for (String setting : Arrays.copyOfRange(arguments, 1, arguments.length)) {
            String[] pair = setting.split("=", 2);
            conf.set(pair[0], pair[1]);
        }
        nn = proxy(UserGroupInformation.getCurrentUser());
        stranger = proxy(UserGroupInformation.createRemoteUser("mallory"));
        nn.delete(BASE, true);
        for (String folder : List.of("", "/dir", "/full/child", "/crowd", "/private", "/sticky")) {
            nn.mkdirs(BASE + folder, MODE, true);
        }
        for (String name : List.of("file", "file2", "private/file", "sticky/file")) {
            file(at(name));
        }
        nn.setPermission(at("private"), new FsPermission((short) 0700));
        nn.setPermission(at("sticky"), new FsPermission((short) 01777));
        int crowd = Integer.parseInt(conf.get("judge.crowd"));
        for (int index = 0; index < crowd; index++) {
            nn.mkdirs(at("crowd/" + index), MODE, true);
        }
        for (Callable<Void> part : List.<Callable<Void>>of(
                () -> { paths(); return null; }, () -> { strangers(); return null; }, () -> { administration(); return null; },
                () -> { writers(); return null; }, () -> { limits(); return null; }, () -> { attributes(); return null; },
                () -> { safeMode(); return null; })) {
            try {
                part.call();
            } catch (Exception problem) {
                System.out.println("part\tbroken\t-\t" + oneLine(problem.toString()));
            }
        }
        nn.delete(BASE, true);
        System.exit(0);
    }
}
