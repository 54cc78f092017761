/*
 * What FsShell cannot do: writers that are left open, lease recovery, and Hadoop's administration tools. Each line of
 * standard input is one command, its arguments separated by the unit separator (U+001F); each answer is one line: exit
 * code, then output and errors in Base64, separated by spaces.
 *
 *   write PATH COUNT         creates a file, writes COUNT bytes of the pattern, hflushes, and leaves it open
 *   recoverLease PATH        prints true or false
 *   isFileClosed PATH        prints true or false
 *   truncate PATH LENGTH     prints true or false
 *   append PATH COUNT        appends COUNT bytes of the pattern in a new block, closes
 *   tool CLASS ARGUMENT...   runs a Tool of Hadoop's
 */

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.EnumSet;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.CreateFlag;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.util.Tool;
import org.apache.hadoop.util.ToolRunner;

public final class LeaseDriver {
    private static final List<FSDataOutputStream> OPEN = new ArrayList<>();

    private static byte[] pattern(int count) {
        byte[] bytes = new byte[count];
        for (int i = 0; i < count; i++) {
            bytes[i] = (byte) (i * 31 % 251);
        }
        return bytes;
    }

    private static int run(Configuration conf, String[] words) throws Exception {
        if (words[0].equals("tool")) {
            Object tool = Class.forName(words[1]).getConstructor(Configuration.class).newInstance(conf);
            return ToolRunner.run((Tool) tool, Arrays.copyOfRange(words, 2, words.length));
        }
        DistributedFileSystem fs = (DistributedFileSystem) FileSystem.get(conf);
        Path path = new Path(words[1]);
        switch (words[0]) {
            case "write": {
                FSDataOutputStream out = fs.create(path, true);
                out.write(pattern(Integer.parseInt(words[2])));
                out.hflush();
                OPEN.add(out);
                return 0;
            }
            case "append": {
                FSDataOutputStream out = fs.append(path, EnumSet.of(CreateFlag.APPEND, CreateFlag.NEW_BLOCK), 4096, null);
                out.write(pattern(Integer.parseInt(words[2])));
                out.close();
                return 0;
            }
            case "recoverLease":
                System.out.println(fs.recoverLease(path));
                return 0;
            case "isFileClosed":
                System.out.println(fs.isFileClosed(path));
                return 0;
            case "truncate":
                System.out.println(fs.truncate(path, Long.parseLong(words[2])));
                return 0;
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    public static void main(String[] settings) throws Exception {
        PrintStream answers = System.out;
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Configuration conf = new Configuration();
        for (String setting : settings) {
            String[] pair = setting.split("=", 2);
            conf.set(pair[0], pair[1]);
        }
        answers.println("READY");
        answers.flush();
        String line;
        while ((line = requests.readLine()) != null) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            ByteArrayOutputStream err = new ByteArrayOutputStream();
            System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
            int code;
            try {
                code = run(conf, line.split("\u001f", -1));
            } catch (Throwable problem) {
                System.err.println(problem);
                code = 1;
            }
            System.out.flush();
            System.err.flush();
            Base64.Encoder base64 = Base64.getEncoder();
            answers.println(code + " " + base64.encodeToString(out.toByteArray()) + " " + base64.encodeToString(err.toByteArray()));
            answers.flush();
        }
    }
}
