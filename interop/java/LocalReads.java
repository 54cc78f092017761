/*
 * Short-circuit reads by Hadoop's own client. Arguments are settings, KEY=VALUE. Each line of standard input is one
 * command, its words separated by tabs; each answer is one line: what the command says, or "failed" and why.
 *
 *   open NAME PATH           opens a file under a name
 *   read NAME LENGTH         reads on; count and MD5 of the bytes
 *   pread NAME AT LENGTH     reads at an offset; as above
 *   zero NAME LENGTH         reads on without copying, checksums skipped; as above
 *   anchored NAME LENGTH     the same, but only what the DataNode has locked in memory
 *   hold NAME LENGTH         as anchored, and keeps the buffer
 *   free NAME                gives all held buffers of NAME back
 *   stats NAME               bytes read: all, local, by short circuit, without copying
 *   close NAME
 */

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.ReadOption;
import org.apache.hadoop.hdfs.client.HdfsDataInputStream;
import org.apache.hadoop.io.ByteBufferPool;

public final class LocalReads {
    private static final Map<String, HdfsDataInputStream> OPEN = new HashMap<>();
    private static final Map<String, List<ByteBuffer>> HELD = new HashMap<>();

    private static String sum(ByteBuffer bytes) throws Exception {
        int count = bytes.remaining();
        MessageDigest digest = MessageDigest.getInstance("MD5");
        digest.update(bytes.duplicate());
        return count + " " + String.format("%032x", new BigInteger(1, digest.digest()));
    }

    private static String mapped(String name, HdfsDataInputStream in, int length, EnumSet<ReadOption> options, boolean keep)
            throws Exception {
        // Without a pool nothing can be copied: it is refused where it cannot be mapped.
        ByteBuffer all = ByteBuffer.allocate(length);
        while (all.hasRemaining()) {
            ByteBuffer part = in.read((ByteBufferPool) null, all.remaining(), options);
            if (part == null) {
                break;
            }
            all.put(part.duplicate());
            if (keep) {
                HELD.computeIfAbsent(name, key -> new ArrayList<>()).add(part);
            } else {
                in.releaseBuffer(part);
            }
        }
        all.flip();
        return sum(all);
    }

    private static String run(FileSystem fs, String[] words) throws Exception {
        String name = words[1];
        HdfsDataInputStream in = OPEN.get(name);
        switch (words[0]) {
            case "open":
                OPEN.put(name, (HdfsDataInputStream) fs.open(new Path(words[2])));
                return "ok";
            case "read": {
                byte[] bytes = new byte[Integer.parseInt(words[2])];
                int count = 0;
                while (count < bytes.length) {
                    int got = in.read(bytes, count, bytes.length - count);
                    if (got < 0) {
                        break;
                    }
                    count += got;
                }
                return sum(ByteBuffer.wrap(bytes, 0, count));
            }
            case "pread": {
                byte[] bytes = new byte[Integer.parseInt(words[3])];
                in.readFully(Long.parseLong(words[2]), bytes);
                return sum(ByteBuffer.wrap(bytes));
            }
            case "zero":
                return mapped(name, in, Integer.parseInt(words[2]), EnumSet.of(ReadOption.SKIP_CHECKSUMS), false);
            case "anchored":
                return mapped(name, in, Integer.parseInt(words[2]), EnumSet.noneOf(ReadOption.class), false);
            case "hold":
                return mapped(name, in, Integer.parseInt(words[2]), EnumSet.noneOf(ReadOption.class), true);
            case "free":
                for (ByteBuffer each : HELD.remove(name)) {
                    in.releaseBuffer(each);
                }
                return "ok";
            case "stats": {
                var read = in.getReadStatistics();
                return read.getTotalBytesRead() + " " + read.getTotalLocalBytesRead() + " "
                    + read.getTotalShortCircuitBytesRead() + " " + read.getTotalZeroCopyBytesRead();
            }
            case "close":
                OPEN.remove(name).close();
                return "ok";
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    public static void main(String[] settings) throws Exception {
        Configuration conf = new Configuration();
        for (String each : settings) {
            conf.set(each.substring(0, each.indexOf('=')), each.substring(each.indexOf('=') + 1));
        }
        FileSystem fs = FileSystem.get(conf);
        System.out.println("READY");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            try {
                System.out.println(run(fs, line.split("\t")));
            } catch (Throwable error) {
                System.out.println("failed " + error.toString().replace('\n', ' '));
            }
        }
        fs.close();
    }
}
