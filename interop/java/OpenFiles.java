import java.io.InputStream;
import java.util.HashMap;
import java.util.Map;
import java.util.Scanner;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Keeps files open across events, through Hadoop's FileSystem, of the 2.7 and the 3.x line alike.
 *
 * One command a line on standard input, words between tabs; one line of answer each. Byte number i of a file is i % 251.
 * write PATH COUNT: opens for writing if it is not open, writes so many more bytes and flushes them to all nodes
 * close PATH: closes the writer
 * open PATH: opens for reading and reads one byte
 * rest PATH: reads the reader to its end, checks every byte and answers with the length
 * read PATH: opens, reads and checks everything
 */
public class OpenFiles {
    private static final Map<String, FSDataOutputStream> WRITERS = new HashMap<>();
    private static final Map<String, FSDataInputStream> READERS = new HashMap<>();

    public static void main(String[] settings) throws Exception {
        Configuration conf = new Configuration();
        for (String setting : settings) {
            String[] pair = setting.split("=", 2);
            conf.set(pair[0], pair[1]);
        }
        FileSystem fs = FileSystem.get(conf);
        Scanner lines = new Scanner(System.in, "UTF-8");
        System.out.println("READY");
        while (lines.hasNextLine()) {
            String answer;
            try {
                answer = run(fs, lines.nextLine().split("\t", -1));
            } catch (Throwable error) {
                answer = "FAILED " + error;
            }
            System.out.println(answer.replace('\n', ' '));
        }
    }

    private static String run(FileSystem fs, String[] words) throws Exception {
        Path path = new Path(words[1]);
        switch (words[0]) {
            case "write": {
                FSDataOutputStream out = WRITERS.get(words[1]);
                if (out == null) {
                    out = fs.create(path, true);
                    WRITERS.put(words[1], out);
                }
                long start = out.getPos();
                byte[] bytes = new byte[Integer.parseInt(words[2])];
                for (int i = 0; i < bytes.length; i++) {
                    bytes[i] = (byte) ((start + i) % 251);
                }
                out.write(bytes);
                out.hflush();
                return "OK";
            }
            case "close":
                WRITERS.remove(words[1]).close();
                return "OK";
            case "open": {
                FSDataInputStream in = fs.open(path);
                READERS.put(words[1], in);
                return "OK " + in.read();
            }
            case "rest":
                try (FSDataInputStream in = READERS.remove(words[1])) {
                    return "OK " + check(in, in.getPos());
                }
            case "read":
                try (FSDataInputStream in = fs.open(path)) {
                    return "OK " + check(in, 0);
                }
            default:
                return "FAILED unknown command";
        }
    }

    private static long check(InputStream in, long position) throws Exception {
        byte[] bytes = new byte[65536];
        int count;
        while ((count = in.read(bytes)) > 0) {
            for (int i = 0; i < count; i++) {
                if (bytes[i] != (byte) ((position + i) % 251)) {
                    throw new IllegalStateException("byte " + (position + i) + " is wrong");
                }
            }
            position += count;
        }
        return position;
    }
}
