import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URI;
import java.security.PrivilegedExceptionAction;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.Map;
import java.util.Scanner;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Options;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.StorageType;
import org.apache.hadoop.fs.permission.AclEntry;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DFSClient;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.protocol.ExtendedBlock;
import org.apache.hadoop.hdfs.protocol.HdfsConstants;
import org.apache.hadoop.hdfs.protocol.LocatedBlock;
import org.apache.hadoop.ipc.RemoteException;
import org.apache.hadoop.security.UserGroupInformation;

/**
 * Raises exceptions of a NameNode through Hadoop's own client and prints each one's class and first line, tab-separated.
 *
 * Standard input has one name of a case a line. A RemoteException is shown as the class that the server named. Cases use
 * paths of their own below /x; `prepare` makes them.
 */
public class Exceptions {
    private interface Action {
        void run() throws Exception;
    }

    private static Configuration conf;
    private static DistributedFileSystem fs;
    private static DistributedFileSystem other;
    private static Object namenode;
    private static final Map<String, Action> CASES = new HashMap<>();
    private static final byte[] DATA = new byte[10];

    public static void main(String[] settings) throws Exception {
        conf = new Configuration();
        for (String setting : settings) {
            String[] pair = setting.split("=", 2);
            conf.set(pair[0], pair[1]);
        }
        conf.set("fs.hdfs.impl.disable.cache", "true");
        fs = connect(UserGroupInformation.getCurrentUser());
        other = connect(UserGroupInformation.createRemoteUser("mallory"));
        Field field = DFSClient.class.getDeclaredField("namenode");
        field.setAccessible(true);
        namenode = field.get(fs.getClient());
        define();
        Scanner lines = new Scanner(System.in, "UTF-8");
        System.out.println("READY");
        while (lines.hasNextLine()) {
            System.out.println(raise(CASES.get(lines.nextLine())).replace('\n', ' '));
        }
    }

    private static DistributedFileSystem connect(UserGroupInformation user) throws Exception {
        return user.doAs((PrivilegedExceptionAction<DistributedFileSystem>) () ->
            (DistributedFileSystem) FileSystem.get(FileSystem.getDefaultUri(conf), conf));
    }

    private static String raise(Action action) {
        try {
            action.run();
            return "none\t";
        } catch (Throwable error) {
            if (error instanceof InvocationTargetException) {
                error = error.getCause();
            }
            String name = error instanceof RemoteException ? ((RemoteException) error).getClassName() : error.getClass().getName();
            String message = String.valueOf(error instanceof RemoteException
                ? error.getMessage() : error.getMessage());
            return name + "\t" + message.split("\n")[0];
        }
    }

    /** Calls ClientProtocol by name, filling parameters that this version has and the caller does not give. */
    private static Object call(String name, Object... arguments) throws Exception {
        for (Method method : namenode.getClass().getMethods()) {
            if (method.getName().equals(name) && method.getParameterCount() >= arguments.length) {
                method.setAccessible(true);
                return method.invoke(namenode, Arrays.copyOf(arguments, method.getParameterCount()));
            }
        }
        throw new NoSuchMethodException(name);
    }

    private static Path at(String name) {
        return new Path("/x/" + name);
    }

    private static void write(DistributedFileSystem where, Path path) throws Exception {
        try (FSDataOutputStream out = where.create(path, true)) {
            out.write(DATA);
        }
    }

    private static long idOf(String path) throws Exception {
        Object status = call("getFileInfo", path);
        Method method = status.getClass().getMethod("getFileId");
        method.setAccessible(true);
        return (Long) method.invoke(status);
    }

    private static LocatedBlock addBlock(String path, ExtendedBlock previous, String client) throws Exception {
        return (LocatedBlock) call("addBlock", path, client, previous, null, idOf(path), null);
    }

    private static String clientName(DistributedFileSystem where) {
        return where.getClient().getClientName();
    }

    private static void define() {
        CASES.put("prepare", () -> {
            fs.mkdirs(at("dir/full"));
            fs.setPermission(at("dir"), new FsPermission((short) 0755));
            write(fs, at("file"));
            write(fs, at("dir/full/file"));
            fs.mkdirs(at("public"));
            fs.setPermission(at("public"), new FsPermission((short) 0777));
        });
        CASES.put("permission denied", () -> other.mkdirs(at("dir/mine")));
        CASES.put("permission of owner", () -> other.setPermission(at("file"), new FsPermission((short) 0777)));
        CASES.put("superuser required", () -> other.setOwner(at("file"), "mallory", null));
        CASES.put("superuser privilege", () -> other.setQuota(at("dir"), 5, 5));
        CASES.put("impersonation", () -> connect(UserGroupInformation.createProxyUser("alice",
            UserGroupInformation.createRemoteUser("mallory"))).mkdirs(at("public/alice")));
        CASES.put("open nothing", () -> fs.open(at("none")));
        CASES.put("list nothing", () -> fs.listStatus(at("none")));
        CASES.put("chmod nothing", () -> fs.setPermission(at("none"), new FsPermission((short) 0777)));
        CASES.put("chown nothing", () -> fs.setOwner(at("none"), "x", null));
        CASES.put("touch nothing", () -> fs.setTimes(at("none"), 1, 1));
        CASES.put("append to nothing", () -> fs.append(at("none")));
        CASES.put("open a directory", () -> fs.open(at("dir")));
        CASES.put("summary of nothing", () -> fs.getContentSummary(at("none")));
        CASES.put("rename2 of nothing", () -> rename(at("none"), at("x1")));
        CASES.put("create without parent", () -> fs.createNonRecursive(at("no/file"), false, 4096, (short) 1, 1048576, null));
        CASES.put("create over a file", () -> fs.create(at("file"), false));
        CASES.put("create over a directory", () -> fs.create(at("dir"), true));
        CASES.put("mkdir over a file", () -> fs.mkdirs(at("file")));
        CASES.put("rename2 onto a file", () -> rename(at("dir/full/file"), at("file")));
        CASES.put("rename2 onto a full directory", () -> {
            fs.mkdirs(at("dir2"));
            fs.rename(at("dir2"), at("dir3"), Options.Rename.OVERWRITE);
            fs.rename(at("dir3"), at("dir"), Options.Rename.OVERWRITE);
        });
        CASES.put("rename2 below itself", () -> rename(at("dir"), at("dir/full/below")));
        CASES.put("create while open", () -> {
            fs.create(at("public/open"), true);
            fs.setPermission(at("public/open"), new FsPermission((short) 0666));
            other.create(at("public/open"), false);
        });
        CASES.put("append while open", () -> other.append(at("public/open")));
        CASES.put("append while open by us", () -> fs.append(at("public/open")));
        CASES.put("add a block for another", () -> addBlock("/x/public/open", null, "DFSClient_nobody"));
        CASES.put("add a block to a closed file", () -> addBlock("/x/file", null, clientName(fs)));
        CASES.put("complete for another", () -> call("complete", "/x/public/open", "DFSClient_nobody", null, idOf("/x/public/open")));
        CASES.put("blocks without replicas", () -> {
            fs.create(at("public/blocks"), true);
            ExtendedBlock previous = null;
            for (int i = 0; i < 3; i++) {
                LocatedBlock added = addBlock("/x/public/blocks", previous, clientName(fs));
                previous = new ExtendedBlock(added.getBlock());
                previous.setNumBytes(1048576);
            }
        });
        CASES.put("enter safe mode", () -> fs.setSafeMode(HdfsConstants.SafeModeAction.SAFEMODE_ENTER));
        CASES.put("leave safe mode", () -> fs.setSafeMode(HdfsConstants.SafeModeAction.SAFEMODE_LEAVE));
        CASES.put("mkdir in safe mode", () -> fs.mkdirs(at("safe")));
        CASES.put("create in safe mode", () -> fs.create(at("safe")));
        CASES.put("delete in safe mode", () -> fs.delete(at("file"), false));
        CASES.put("rename in safe mode", () -> fs.rename(at("file"), at("safe")));
        CASES.put("chmod in safe mode", () -> fs.setPermission(at("file"), new FsPermission((short) 0600)));
        CASES.put("name quota", () -> {
            fs.mkdirs(at("names"));
            fs.setQuota(at("names"), 1, HdfsConstants.QUOTA_DONT_SET);
            fs.mkdirs(at("names/one"));
        });
        CASES.put("space quota", () -> {
            fs.mkdirs(at("space"));
            fs.setQuota(at("space"), HdfsConstants.QUOTA_DONT_SET, 1000);
            write(fs, at("space/one"));
        });
        CASES.put("type quota", () -> {
            fs.mkdirs(at("types"));
            fs.setStoragePolicy(at("types"), "ALL_SSD");
            fs.setQuotaByStorageType(at("types"), StorageType.SSD, 1000);
            write(fs, at("types/one"));
        });
        CASES.put("quota of a file", () -> fs.setQuota(at("file"), 5, HdfsConstants.QUOTA_DONT_SET));
        CASES.put("mkdir below a file", () -> fs.mkdirs(at("file/below")));
        CASES.put("create below a file", () -> fs.create(at("file/below")));
        CASES.put("status below a file", () -> call("getFileInfo", "/x/file/below"));
        CASES.put("symlink", () -> fs.createSymlink(at("file"), at("link"), false));
        CASES.put("symlink by call", () -> call("createSymlink", "/x/file", "/x/link", new FsPermission((short) 0777), false));
        CASES.put("delete a full directory", () -> fs.delete(at("dir"), false));
        CASES.put("delete below a full directory", () -> call("delete", "/x/dir", false));
        CASES.put("mkdir of a bad name", () -> call("mkdirs", "/x/a:b/../c", new FsPermission((short) 0755), true));
        CASES.put("mkdir of a relative name", () -> call("mkdirs", "x/y", new FsPermission((short) 0755), true));
        CASES.put("status of a relative name", () -> call("getFileInfo", "x/y"));
        CASES.put("truncate beyond the end", () -> fs.truncate(at("file"), 1000));
        CASES.put("truncate below zero", () -> call("truncate", "/x/file", -1L, clientName(fs)));
        CASES.put("truncate while open", () -> other.truncate(at("public/open"), 0));
        CASES.put("long name", () -> fs.mkdirs(at(String.join("", Collections.nCopies(300, "n")))));
        CASES.put("many children", () -> {
            for (int i = 0; i < 40; i++) {
                fs.mkdirs(at("crowd/" + i));
            }
        });
        CASES.put("replication too large", () -> fs.setReplication(at("file"), (short) 600));
        CASES.put("block too small", () -> fs.create(at("tiny"), true, 4096, (short) 1, 512));
        CASES.put("snapshot of nobody", () -> fs.createSnapshot(at("dir"), "s1"));
        CASES.put("rename of no snapshot", () -> fs.renameSnapshot(at("dir"), "s1", "s2"));
        CASES.put("delete of no snapshot", () -> fs.deleteSnapshot(at("dir"), "s1"));
        CASES.put("write into snapshots", () -> fs.mkdirs(at("dir/.snapshot/new")));
        CASES.put("acl", () -> fs.setAcl(at("file"), AclEntry.parseAclSpec("user::rwx,user:bob:r--,group::---,mask::r--,other::---", true)));
        CASES.put("acl of a bad kind", () -> fs.setAcl(at("file"), AclEntry.parseAclSpec("user:bob:r--", true)));
        CASES.put("xattr that is not there", () -> fs.getXAttr(at("file"), "user.none"));
        CASES.put("xattr removed twice", () -> fs.removeXAttr(at("file"), "user.none"));
        CASES.put("xattr of no space", () -> fs.setXAttr(at("file"), "trusted.x", DATA));
        CASES.put("xattr of system", () -> fs.setXAttr(at("file"), "system.x", DATA));
        CASES.put("xattr of trusted for others", () -> other.setXAttr(at("public"), "trusted.x", DATA));
        CASES.put("listing from a lost child", () ->
            call("getListing", "/x/dir", "/.reserved/.inodes/99999".getBytes("UTF-8"), false));
        CASES.put("status of a lost inode", () -> call("getBlockLocations", "/.reserved/.inodes/99999", 0L, 10L));
        CASES.put("policy of no name", () -> fs.setStoragePolicy(at("dir"), "WRONG"));
        CASES.put("policy of nothing", () -> fs.setStoragePolicy(at("none"), "HOT"));
        CASES.put("concat of nothing", () -> fs.concat(at("none"), new Path[] {at("file")}));
        CASES.put("concat onto itself", () -> fs.concat(at("file"), new Path[] {at("file")}));
        CASES.put("concat from elsewhere", () -> fs.concat(at("file"), new Path[] {at("dir/full/file")}));
        CASES.put("encryption zone", () -> fs.createEncryptionZone(at("dir"), "key"));
        CASES.put("open with a negative offset", () -> call("getBlockLocations", "/x/file", -1L, 10L));
        CASES.put("delete the root", () -> call("delete", "/", true));
        CASES.put("rename the root", () -> rename(new Path("/"), at("root")));
        CASES.put("report by others", () -> other.getClient().datanodeReport(HdfsConstants.DatanodeReportType.ALL));
        CASES.put("safe mode by others", () -> other.setSafeMode(HdfsConstants.SafeModeAction.SAFEMODE_ENTER));
        CASES.put("save outside safe mode", () -> fs.saveNamespace());
        CASES.put("recover nothing", () -> fs.recoverLease(at("none")));
        CASES.put("recover for others", () -> other.recoverLease(at("file")));
        CASES.put("is nothing closed", () -> fs.isFileClosed(at("none")));
        CASES.put("append while recovering", () -> {
            FSDataOutputStream out = fs.create(at("public/hurt"), true);
            out.write(DATA);
            out.hflush();
        });
    }

    @SuppressWarnings("deprecation")
    private static void rename(Path from, Path to) throws Exception {
        fs.rename(from, to, Options.Rename.NONE);
    }
}
