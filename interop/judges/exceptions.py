"""Judge: what the NameNode refuses, class by class and first line by first line, through Hadoop's 3.3 client.

Expected are the words of Hadoop 3.3. Apache's own 2.7.3 stands beside where it can be had: every class must be the same
there, but for the rows that name another one, so that the table itself is judged.

Rows of Hadoop's exceptions that no call of a stock client raises on such a cluster, and why:
StandbyException, ObserverRetryOnActiveException: there is one NameNode, always active; RetriableException: ports open when
start-up is over; UnregisteredNodeException, DisallowedDatanodeException, IncorrectVersionException: DataNodes alone meet
them; UnsupportedActionException: backup nodes; SecretManager$InvalidToken: judge `tokens`; RetryStartFileException,
UnknownCryptoProtocolVersionException: encryption zones; UnresolvedPathException: symbolic links are refused;
RecoveryInProgressException: judge `refused_calls`.
"""

import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import apache, fetch  # noqa: E402
from lib.cluster import Daemons  # noqa: E402
from lib.java import JavaDriver  # noqa: E402
from lib.judge import Judge  # noqa: E402

SETTINGS = {
    "dfs.namenode.fs-limits.max-directory-items": "30", "dfs.namenode.fs-limits.min-block-size": "1048576",
    "dfs.namenode.acls.enabled": "false", "dfs.heartbeat.interval": "1", "dfs.replication": "1",
}
# Case of interop/java/Exceptions.java, class, first line ("…": what follows is the client's own), and the class of 2.7.3
# where it is another one. They run in this order. "none": no exception.
CASES = [
    ('prepare', 'none', ''),
    ('permission denied', 'org.apache.hadoop.security.AccessControlException', 'Permission denied: user=mallory, access=WRITE, inode="/x/dir":OWNER:supergroup:drwxr-xr-x'),
    ('permission of owner', 'org.apache.hadoop.security.AccessControlException', 'Permission denied. user=mallory is not the owner of inode=/x/file'),
    ('superuser required', 'org.apache.hadoop.security.AccessControlException', 'Permission denied. user=mallory is not the owner of inode=/x/file'),
    ('superuser privilege', 'org.apache.hadoop.security.AccessControlException', 'Access denied for user mallory. Superuser privilege is required'),
    ('impersonation', 'org.apache.hadoop.security.authorize.AuthorizationException', 'User: mallory is not allowed to impersonate alice'),
    ('open nothing', 'java.io.FileNotFoundException', 'File does not exist: /x/none'),
    ('list nothing', 'java.io.FileNotFoundException', 'File /x/none does not exist.'),
    ('chmod nothing', 'java.io.FileNotFoundException', 'Directory/File does not exist /x/none'),
    ('chown nothing', 'java.io.FileNotFoundException', 'Directory/File does not exist /x/none'),
    ('touch nothing', 'java.io.FileNotFoundException', 'File/Directory /x/none does not exist.'),
    ('append to nothing', 'java.io.FileNotFoundException', 'Failed to append to non-existent file /x/none for client 127.0.0.1'),
    ('open a directory', 'java.io.FileNotFoundException', 'Path is not a file: /x/dir'),
    ('summary of nothing', 'java.io.FileNotFoundException', 'File does not exist: /x/none'),
    ('rename2 of nothing', 'java.io.FileNotFoundException', 'rename source /x/none is not found.'),
    ('create without parent', 'java.io.FileNotFoundException', "Parent directory doesn't exist: /x/no"),
    ('create over a file', 'org.apache.hadoop.fs.FileAlreadyExistsException', '/x/file for client 127.0.0.1 already exists'),
    ('create over a directory', 'org.apache.hadoop.fs.FileAlreadyExistsException', '/x/dir already exists as a directory'),
    ('mkdir over a file', 'org.apache.hadoop.fs.FileAlreadyExistsException', 'Path is not a directory: /x/file'),
    ('rename2 onto a file', 'org.apache.hadoop.fs.FileAlreadyExistsException', 'rename destination /x/file already exists'),
    ('rename2 onto a full directory', 'java.io.IOException', 'rename destination directory is not empty: /x/dir'),
    ('rename2 below itself', 'java.io.IOException', 'Rename destination /x/dir/full/below is a directory or file under source /x/dir'),
    ('create while open', 'org.apache.hadoop.hdfs.protocol.AlreadyBeingCreatedException', 'Failed to CREATE_FILE /x/public/open for CLIENT on 127.0.0.1 because this file lease is currently owned by CLIENT on 127.0.0.1'),
    ('append while open', 'org.apache.hadoop.hdfs.protocol.AlreadyBeingCreatedException', 'Failed to APPEND_FILE /x/public/open for CLIENT on 127.0.0.1 because this file lease is currently owned by CLIENT on 127.0.0.1'),
    ('append while open by us', 'org.apache.hadoop.hdfs.protocol.AlreadyBeingCreatedException', 'Failed to APPEND_FILE /x/public/open for CLIENT on 127.0.0.1 because CLIENT is already the current lease holder.'),
    ('add a block for another', 'org.apache.hadoop.hdfs.server.namenode.LeaseExpiredException', 'Client (=DFSClient_nobody) is not the lease owner (=CLIENT: /x/public/open (inode N) Holder DFSClient_nobody does not have any open files.'),
    ('add a block to a closed file', 'org.apache.hadoop.hdfs.server.namenode.LeaseExpiredException', 'File is not open for writing: /x/file (inode N) [Lease.  Holder: CLIENT, pending creates: 1]'),
    ('complete for another', 'org.apache.hadoop.hdfs.server.namenode.LeaseExpiredException', 'Client (=DFSClient_nobody) is not the lease owner (=CLIENT: /x/public/open (inode N) Holder DFSClient_nobody does not have any open files.'),
    ('blocks without replicas', 'org.apache.hadoop.hdfs.server.namenode.NotReplicatedYetException', 'Not replicated yet: /x/public/blocks'),
    ('enter safe mode', 'none', ''),
    ('mkdir in safe mode', 'org.apache.hadoop.hdfs.server.namenode.SafeModeException', 'Cannot create directory /x/safe. Name node is in safe mode.'),
    ('create in safe mode', 'org.apache.hadoop.hdfs.server.namenode.SafeModeException', 'Cannot create file/x/safe. Name node is in safe mode.'),
    ('delete in safe mode', 'org.apache.hadoop.hdfs.server.namenode.SafeModeException', 'Cannot delete /x/file. Name node is in safe mode.'),
    ('rename in safe mode', 'org.apache.hadoop.hdfs.server.namenode.SafeModeException', 'Cannot rename /x/file. Name node is in safe mode.'),
    ('chmod in safe mode', 'org.apache.hadoop.hdfs.server.namenode.SafeModeException', 'Cannot set permission for /x/file. Name node is in safe mode.'),
    ('leave safe mode', 'none', ''),
    ('name quota', 'org.apache.hadoop.hdfs.protocol.NSQuotaExceededException', 'The NameSpace quota (directories and files) of directory /x/names is exceeded: quota=1 file count=2'),
    ('space quota', 'org.apache.hadoop.hdfs.protocol.DSQuotaExceededException', 'The DiskSpace quota of /x/space is exceeded: quota = 1000 B = 1000 B but diskspace consumed = 1048576 B = 1 MB'),
    ('type quota', 'org.apache.hadoop.hdfs.protocol.QuotaByStorageTypeExceededException', 'Quota by storage type : SSD on path : /x/types is exceeded. quota = 1000 B but space consumed = 1 MB'),
    ('quota of a file', 'org.apache.hadoop.fs.PathIsNotDirectoryException', "`/x/file': Is not a directory"),
    ('mkdir below a file', 'org.apache.hadoop.fs.ParentNotDirectoryException', '/x/file (is not a directory)', 'org.apache.hadoop.fs.FileAlreadyExistsException'),
    ('create below a file', 'org.apache.hadoop.fs.ParentNotDirectoryException', '/x/file (is not a directory)', 'java.lang.IllegalStateException'),
    ('status below a file', 'none', ''),
    ('symlink', 'java.lang.UnsupportedOperationException', 'Symlinks not supported'),
    ('symlink by call', 'java.lang.UnsupportedOperationException', 'Symlinks not supported'),
    ('delete a full directory', 'org.apache.hadoop.fs.PathIsNotEmptyDirectoryException', "``/x/dir is non empty': Directory is not empty…"),
    ('delete below a full directory', 'org.apache.hadoop.fs.PathIsNotEmptyDirectoryException', "`/x/dir is non empty': Directory is not empty"),
    ('mkdir of a bad name', 'org.apache.hadoop.fs.InvalidPathException', 'Invalid path name Invalid file name: /x/a:b/../c'),
    ('mkdir of a relative name', 'org.apache.hadoop.fs.InvalidPathException', 'Invalid path name Invalid file name: x/y'),
    ('status of a relative name', 'org.apache.hadoop.fs.InvalidPathException', 'Invalid path name Invalid file name: x/y'),
    ('truncate beyond the end', 'org.apache.hadoop.HadoopIllegalArgumentException', 'Cannot truncate to a larger file size. Current size: 10, truncate size: 1000.'),
    ('truncate below zero', 'org.apache.hadoop.HadoopIllegalArgumentException', 'Cannot truncate to a negative file size: -1.'),
    ('truncate while open', 'org.apache.hadoop.hdfs.protocol.AlreadyBeingCreatedException', 'Failed to TRUNCATE_FILE /x/public/open for CLIENT on 127.0.0.1 because this file lease is currently owned by CLIENT on 127.0.0.1'),
    ('long name', 'org.apache.hadoop.hdfs.protocol.FSLimitException$PathComponentTooLongException', 'The maximum path component name limit of N in directory /x is exceeded: limit=255 length=300'),
    ('many children', 'org.apache.hadoop.hdfs.protocol.FSLimitException$MaxDirectoryItemsExceededException', 'The directory item limit of /x/crowd is exceeded: limit=30 items=30'),
    ('replication too large', 'java.io.IOException', 'Requested replication factor of 600 exceeds maximum of 512 for /x/file'),
    ('block too small', 'java.io.IOException', 'Specified block size is less than configured minimum value (dfs.namenode.fs-limits.min-block-size): 512 < 1048576'),
    ('snapshot of nobody', 'org.apache.hadoop.hdfs.protocol.SnapshotException', 'Directory is not a snapshottable directory: /x/dir'),
    ('rename of no snapshot', 'org.apache.hadoop.hdfs.protocol.SnapshotException', 'Directory is not a snapshottable directory: /x/dir'),
    ('delete of no snapshot', 'org.apache.hadoop.hdfs.protocol.SnapshotException', 'Directory is not a snapshottable directory: /x/dir'),
    ('write into snapshots', 'org.apache.hadoop.HadoopIllegalArgumentException', '".snapshot" is a reserved name.'),
    ('acl', 'org.apache.hadoop.hdfs.protocol.AclException', 'The ACL operation has been rejected.  Support for ACLs has been disabled by setting dfs.namenode.acls.enabled to false.'),
    ('acl of a bad kind', 'org.apache.hadoop.hdfs.protocol.AclException', 'The ACL operation has been rejected.  Support for ACLs has been disabled by setting dfs.namenode.acls.enabled to false.'),
    ('xattr that is not there', 'org.apache.hadoop.hdfs.protocol.XAttrNotFoundException', 'At least one of the attributes provided was not found.', 'none'),
    ('xattr removed twice', 'java.io.IOException', 'No matching attributes found for remove operation'),
    ('xattr of no space', 'none', ''),
    ('xattr of system', 'org.apache.hadoop.security.AccessControlException', "User doesn't have permission for xattr: system.x"),
    ('xattr of trusted for others', 'org.apache.hadoop.security.AccessControlException', "User doesn't have permission for xattr: trusted.x"),
    ('listing from a lost child', 'org.apache.hadoop.fs.DirectoryListingStartAfterNotFoundException', "Can't find startAfter /.reserved/.inodes/99999"),
    ('status of a lost inode', 'java.io.FileNotFoundException', 'File for given inode path does not exist: /.reserved/.inodes/99999'),
    ('policy of no name', 'org.apache.hadoop.HadoopIllegalArgumentException', 'Cannot find a block policy with the name WRONG'),
    ('policy of nothing', 'java.io.FileNotFoundException', 'File/Directory does not exist: /x/none'),
    ('concat of nothing', 'java.io.FileNotFoundException', 'File does not exist: /x/none'),
    ('concat onto itself', 'org.apache.hadoop.HadoopIllegalArgumentException', 'concat: the src file /x/file is the same with the target file /x/file'),
    ('concat from elsewhere', 'org.apache.hadoop.HadoopIllegalArgumentException', 'Source file /x/dir/full/file is not in the same directory with the target /x/file'),
    ('encryption zone', 'java.io.IOException', "Can't create an encryption zone for /x/dir since no key provider is available."),
    ('open with a negative offset', 'org.apache.hadoop.HadoopIllegalArgumentException', 'Negative offset is not supported. File: /x/file'),
    ('delete the root', 'none', ''),
    ('rename the root', 'java.io.IOException', 'rename source cannot be the root'),
    ('report by others', 'org.apache.hadoop.security.AccessControlException', 'Access denied for user mallory. Superuser privilege is required'),
    ('safe mode by others', 'org.apache.hadoop.security.AccessControlException', 'Access denied for user mallory. Superuser privilege is required'),
    ('save outside safe mode', 'java.io.IOException', 'Safe mode should be turned ON in order to create namespace image.'),
    ('recover nothing', 'java.io.FileNotFoundException', 'File does not exist: /x/none'),
    ('recover for others', 'none', ''),
    ('is nothing closed', 'java.io.FileNotFoundException', 'File does not exist: /x/none'),
    ('append while recovering', 'none', ''),
]


def normal(text):
    """The text without what differs from run to run."""
    text = re.sub(r"DFSClient_NONMAPREDUCE_-?\d+_\d+", "CLIENT", text)
    text = re.sub(r"inode \d+", "inode N", text).replace("n" * 300, "N")
    return re.sub(r":[\w.-]+:supergroup:", ":OWNER:supergroup:", text)


def raised(judge, java, url):
    """Runs all cases; returns class and first line of each."""
    settings = [f"fs.defaultFS={url}", "dfs.replication=1", "dfs.blocksize=1048576"]
    with JavaDriver(*java, "Exceptions", judge.scratch, settings) as driver:
        return {case[0]: driver(case[0]).split("\t", 1) for case in CASES}


def main():
    judge = Judge(__doc__)
    java = judge.fetch(fetch.java_client, "3.3.4")
    with Daemons(judge.hadron, datanodes=1, settings=SETTINGS) as cluster:
        found = raised(judge, java, cluster.url)
        judge.check("the cluster still runs at the end", cluster.alive())
    for name, wanted, line, *_ in CASES:
        kind, text = found[name]
        judge.equal(f"{name}: class", kind, wanted)
        if line.endswith("…"):
            judge.check(f"{name}: first line", normal(text).startswith(line[:-1]), f"got {text!r}, want {line!r}")
        else:
            judge.equal(f"{name}: first line", normal(text), line)
    try:
        home = apache.unpack(judge.work)
    except fetch.Absent as absent:
        print(f"  not compared with Apache 2.7.3: {absent}", flush=True)
        judge.finish()
    with tempfile.TemporaryDirectory(prefix="hadron-judge-apache-") as folder, \
            apache.Apache(home, folder, datanodes=1, settings=SETTINGS) as other:
        found = raised(judge, java, other.url)
    for name, wanted, _, *old in CASES:
        judge.equal(f"Apache 2.7.3 {name}: class", found[name][0], old[0] if old else wanted)
    judge.finish()


if __name__ == "__main__":
    main()
