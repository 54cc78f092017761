import java.io.InputStream;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.client.HdfsDataInputStream;
import org.apache.hadoop.hdfs.client.HdfsDataOutputStream;
import org.apache.hadoop.hdfs.protocol.LocatedBlock;

/**
 * Keeps streams open and does as told through Hadoop's client, of the 2.7 and the 3.x line alike: the same words as
 * `hadron bench drive` and interop/lib/native_streams.py.
 *
 * One command a line on standard input, words between tabs; one line of answer each, OK or FAILED.
 * create PATH, append PATH, write PATH SALT START COUNT, hflush PATH, hsync PATH, close PATH, view PATH SALT, status PATH,
 * recover PATH, delete PATH, rename PATH TARGET
 */
public class StreamDriver {
    private static final Map<String, FSDataOutputStream> WRITERS = new HashMap<>();
    private static final int PIECE = 64 << 10;

    public static void main(String[] settings) throws Exception {
        Configuration conf = new Configuration();
        for (String setting : settings) {
            String[] pair = setting.split("=", 2);
            conf.set(pair[0], pair[1]);
        }
        DistributedFileSystem fs = (DistributedFileSystem) FileSystem.get(conf);
        Scanner lines = new Scanner(System.in, "UTF-8");
        System.out.println("READY");
        while (lines.hasNextLine()) {
            String answer;
            try {
                answer = "OK " + run(fs, lines.nextLine().split("\t", -1));
            } catch (Throwable error) {
                answer = "FAILED " + error;
            }
            System.out.println(answer.replace('\n', ' ').trim());
        }
    }

    private static String run(DistributedFileSystem fs, String[] words) throws Exception {
        Path path = new Path(words[1]);
        switch (words[0]) {
            case "create":
                WRITERS.put(words[1], fs.create(path, true));
                return "";
            case "append":
                WRITERS.put(words[1], fs.append(path));
                return "";
            case "write":
                write(open(words[1]), Long.parseLong(words[2]), Long.parseLong(words[3]), Integer.parseInt(words[4]));
                return "";
            case "hflush":
                open(words[1]).hflush();
                return "";
            case "hsync":
                ((HdfsDataOutputStream) open(words[1])).hsync(EnumSet.of(HdfsDataOutputStream.SyncFlag.UPDATE_LENGTH));
                return "";
            case "close": {
                FSDataOutputStream out = open(words[1]);
                WRITERS.remove(words[1]);
                out.close();
                return "";
            }
            case "view":
                return view(fs, path, Long.parseLong(words[2]));
            case "status":
                return fs.exists(path) ? fs.getFileStatus(path).getLen() + " " + fs.isFileClosed(path) : "absent";
            case "recover":
                return String.valueOf(fs.recoverLease(path));
            case "delete":
                return String.valueOf(fs.delete(path, false));
            case "rename":
                return String.valueOf(fs.rename(path, new Path(words[2])));
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private static FSDataOutputStream open(String name) {
        FSDataOutputStream out = WRITERS.get(name);
        if (out == null) {
            throw new IllegalStateException(name + " is not open");
        }
        return out;
    }

    private static byte at(long salt, long position) {
        return (byte) ((position + salt * 1000003L) * 2654435761L >>> 24);
    }

    private static void write(FSDataOutputStream out, long salt, long start, int count) throws Exception {
        byte[] bytes = new byte[PIECE];
        for (int done = 0; done < count; ) {
            int piece = Math.min(count - done, PIECE);
            for (int i = 0; i < piece; i++) {
                bytes[i] = at(salt, start + done + i);
            }
            out.write(bytes, 0, piece);
            done += piece;
        }
    }

    private static String view(DistributedFileSystem fs, Path path, long salt) throws Exception {
        try (HdfsDataInputStream in = (HdfsDataInputStream) fs.open(path)) {
            long length = in.getVisibleLength();
            List<LocatedBlock> blocks = in.getAllBlocks();
            LocatedBlock last = blocks.isEmpty() ? null : blocks.get(blocks.size() - 1);
            long end = check(in, salt);
            // Who has to ask for the last block anew, since none of its nodes answers, sees what was written meanwhile.
            if (end < length || end != in.getVisibleLength()) {
                throw new IllegalStateException("WRONG " + path + " ends at " + end + " and has " + length + " bytes");
            }
            return length + (last == null ? " - -" : " " + last.getBlock().getBlockId() + " " + last.getBlock().getGenerationStamp());
        }
    }

    private static long check(InputStream in, long salt) throws Exception {
        byte[] bytes = new byte[PIECE];
        long position = 0;
        int count;
        while ((count = in.read(bytes)) > 0) {
            for (int i = 0; i < count; i++) {
                if (bytes[i] != at(salt, position + i)) {
                    throw new IllegalStateException("WRONG byte " + (position + i));
                }
            }
            position += count;
        }
        return position;
    }
}
