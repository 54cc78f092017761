/*
 * Runs many FsShell commands in one JVM: each line of standard input is one command, its arguments separated by the
 * unit separator (U+001F). For each it prints one line: exit code, then output and errors in Base64, separated by spaces.
 */

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FsShell;
import org.apache.hadoop.util.ToolRunner;

public final class FsShellDriver {
    public static void main(String[] settings) throws Exception {
        PrintStream answers = System.out;
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Configuration shared = new Configuration();
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
            System.setIn(new ByteArrayInputStream("typed in\n".getBytes(StandardCharsets.UTF_8)));
            System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
            int code;
            try {
                Configuration own = new Configuration(shared);
                own.setQuietMode(false);
                FsShell shell = new FsShell(own);
                try {
                    code = ToolRunner.run(shell, line.split("\u001f", -1));
                } finally {
                    shell.close();
                }
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
}
