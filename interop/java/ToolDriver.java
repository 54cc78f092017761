/*
 * Runs many Hadoop tools in one JVM: each line of standard input is one run, the tool's class and its arguments separated
 * by the unit separator (U+001F). For each it prints one line: exit code, then output and errors in Base64, separated by
 * spaces. "watch" instead of a class uses HdfsAdmin's event stream: "watch open" opens it, "watch poll COUNT" prints so
 * many batches.
 */

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.DFSInotifyEventInputStream;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.client.HdfsAdmin;
import org.apache.hadoop.hdfs.inotify.Event;
import org.apache.hadoop.hdfs.inotify.EventBatch;
import org.apache.hadoop.util.Tool;
import org.apache.hadoop.util.ToolRunner;

public final class ToolDriver {
    private static DFSInotifyEventInputStream stream;

    public static void main(String[] settings) throws Exception {
        PrintStream answers = System.out;
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Configuration shared = new HdfsConfiguration();
        for (String setting : settings) {
            String[] pair = setting.split("=", 2);
            shared.set(pair[0], pair[1]);
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
                String[] words = line.split("\u001f", -1);
                String[] arguments = Arrays.copyOfRange(words, 1, words.length);
                Configuration own = new HdfsConfiguration(shared);
                code = words[0].equals("watch") ? watch(own, arguments) : run(words[0], own, arguments);
            } catch (Throwable problem) {
                problem.printStackTrace();
                code = -99;
            }
            System.out.flush();
            System.err.flush();
            Base64.Encoder base64 = Base64.getEncoder();
            answers.println(code + " " + base64.encodeToString(out.toByteArray()) + " " + base64.encodeToString(err.toByteArray()));
            answers.flush();
        }
    }

    private static int run(String name, Configuration conf, String[] arguments) throws Exception {
        Class<?> type = Class.forName(name);
        Tool tool;
        try {
            tool = (Tool) type.getConstructor(Configuration.class).newInstance(conf);
        } catch (NoSuchMethodException absent) {
            tool = (Tool) type.getConstructor().newInstance();
        }
        return ToolRunner.run(conf, tool, arguments);
    }

    private static int watch(Configuration conf, String[] arguments) throws Exception {
        if (arguments[0].equals("open")) {
            HdfsAdmin admin = new HdfsAdmin(URI.create(conf.get("fs.defaultFS")), conf);
            stream = admin.getInotifyEventStream();
            stream.poll();
            return 0;
        }
        for (int left = Integer.parseInt(arguments[1]); left > 0; left--) {
            EventBatch batch = stream.poll(10, TimeUnit.SECONDS);
            if (batch == null) {
                System.out.println("nothing");
                return 1;
            }
            for (Event event : batch.getEvents()) {
                System.out.println(describe(event));
            }
        }
        return 0;
    }

    private static String describe(Event event) {
        switch (event.getEventType()) {
            case CREATE:
                return "CREATE " + ((Event.CreateEvent) event).getiNodeType() + " " + ((Event.CreateEvent) event).getPath();
            case CLOSE:
                return "CLOSE " + ((Event.CloseEvent) event).getPath() + " " + ((Event.CloseEvent) event).getFileSize();
            case APPEND:
                return "APPEND " + ((Event.AppendEvent) event).getPath();
            case RENAME:
                return "RENAME " + ((Event.RenameEvent) event).getSrcPath() + " " + ((Event.RenameEvent) event).getDstPath();
            case METADATA:
                Event.MetadataUpdateEvent change = (Event.MetadataUpdateEvent) event;
                return "METADATA " + change.getMetadataType() + " " + change.getPath();
            case UNLINK:
                return "UNLINK " + ((Event.UnlinkEvent) event).getPath();
            default:
                return event.getEventType().toString();
        }
    }
}
