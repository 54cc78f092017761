import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Scanner;
import javax.crypto.SecretKey;
import org.apache.hadoop.security.token.SecretManager;
import org.apache.hadoop.security.token.Token;
import org.apache.hadoop.security.token.TokenIdentifier;

/**
 * Makes and judges block tokens with Hadoop's own classes, of the 2.7 and the 3.x line alike.
 *
 * One command a line on standard input, words between tabs, bytes in hex; one line of answer each:
 * make FORM EXPIRY KEY_ID USER POOL BLOCK MODES TYPES STORAGES KEY -> identifier and password (FORM: legacy or proto)
 * read IDENTIFIER -> what Hadoop says it is, and its bytes written again
 * check IDENTIFIER PASSWORD KEY_ID KEY POOL BLOCK MODE -> OK or the refusal (2.7 only: the 3.x client has no such class)
 */
public class BlockTokens {
    private static final String BLOCK = "org.apache.hadoop.hdfs.security.token.block.";
    private static final HexFormat HEX = HexFormat.of();

    /** Opens Hadoop's password function. */
    private static final class Passwords extends SecretManager<TokenIdentifier> {
        protected byte[] createPassword(TokenIdentifier identifier) {
            throw new UnsupportedOperationException();
        }

        public byte[] retrievePassword(TokenIdentifier identifier) {
            throw new UnsupportedOperationException();
        }

        public TokenIdentifier createIdentifier() {
            throw new UnsupportedOperationException();
        }

        static byte[] of(byte[] identifier, byte[] key) {
            SecretKey secret = createSecretKey(key);
            return createPassword(identifier, secret);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Scanner lines = new Scanner(System.in, "UTF-8");
        System.out.println("READY");
        while (lines.hasNextLine()) {
            String[] words = lines.nextLine().split("\t", -1);
            String answer;
            try {
                answer = run(words);
            } catch (InvocationTargetException error) {
                answer = "FAILED " + error.getCause();
            } catch (Exception error) {
                answer = "FAILED " + error;
            }
            System.out.println(answer.replace('\n', ' '));
        }
    }

    private static String run(String[] words) throws Exception {
        switch (words[0]) {
            case "make":
                return make(words);
            case "read":
                return read(HEX.parseHex(words[1]));
            case "check":
                return check(words);
            default:
                return "FAILED unknown command";
        }
    }

    private static Class<?> modeClass() throws ClassNotFoundException {
        try {
            return Class.forName(BLOCK + "BlockTokenIdentifier$AccessMode");
        } catch (ClassNotFoundException old) {
            return Class.forName(BLOCK + "BlockTokenSecretManager$AccessMode");
        }
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private static Enum mode(String name) throws ClassNotFoundException {
        return Enum.valueOf((Class) modeClass(), name);
    }

    private static List<String> list(String words) {
        return words.isEmpty() ? new ArrayList<>() : Arrays.asList(words.split(","));
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private static String make(String[] words) throws Exception {
        EnumSet modes = EnumSet.noneOf((Class) modeClass());
        for (String name : list(words[7])) {
            modes.add(mode(name));
        }
        Constructor<?> longest = null;
        for (Constructor<?> each : Class.forName(BLOCK + "BlockTokenIdentifier").getConstructors()) {
            if (longest == null || each.getParameterCount() > longest.getParameterCount()) {
                longest = each;
            }
        }
        TokenIdentifier identifier;
        long block = Long.parseLong(words[6]);
        if (longest.getParameterCount() == 4) {
            identifier = (TokenIdentifier) longest.newInstance(words[4], words[5], block, modes);
        } else {
            Class<?> typeClass = Class.forName("org.apache.hadoop.fs.StorageType");
            List<String> names = list(words[8]);
            Object types = java.lang.reflect.Array.newInstance(typeClass, names.size());
            for (int i = 0; i < names.size(); i++) {
                java.lang.reflect.Array.set(types, i, Enum.valueOf((Class) typeClass, names.get(i)));
            }
            String[] storages = list(words[9]).toArray(new String[0]);
            identifier = (TokenIdentifier) longest.newInstance(words[4], words[5], block, modes, types, storages,
                words[1].equals("proto"));
        }
        Class<?> type = identifier.getClass();
        type.getMethod("setExpiryDate", long.class).invoke(identifier, Long.parseLong(words[2]));
        type.getMethod("setKeyId", int.class).invoke(identifier, Integer.parseInt(words[3]));
        byte[] bytes = identifier.getBytes();
        return HEX.formatHex(bytes) + " " + HEX.formatHex(Passwords.of(bytes, HEX.parseHex(words[10])));
    }

    private static String read(byte[] bytes) throws Exception {
        TokenIdentifier identifier = (TokenIdentifier) Class.forName(BLOCK + "BlockTokenIdentifier")
            .getConstructor().newInstance();
        identifier.readFields(new DataInputStream(new ByteArrayInputStream(bytes)));
        String said = identifier.toString();
        int keyId = (Integer) identifier.getClass().getMethod("getKeyId").invoke(identifier);
        // Setting a field makes Hadoop forget the bytes it read and write its own.
        identifier.getClass().getMethod("setKeyId", int.class).invoke(identifier, keyId);
        return HEX.formatHex(identifier.getBytes()) + " " + said;
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private static String check(String[] words) throws Exception {
        long day = 86400000L;
        Class<?> managerClass = Class.forName(BLOCK + "BlockTokenSecretManager");
        Object manager = managerClass.getConstructor(long.class, long.class, String.class, String.class)
            .newInstance(day, day, words[5], null);
        Class<?> keyClass = Class.forName(BLOCK + "BlockKey");
        Object key = keyClass.getConstructor(int.class, long.class, byte[].class)
            .newInstance(Integer.parseInt(words[3]), System.currentTimeMillis() + day, HEX.parseHex(words[4]));
        Object keys = java.lang.reflect.Array.newInstance(keyClass, 1);
        java.lang.reflect.Array.set(keys, 0, key);
        Class<?> exportedClass = Class.forName(BLOCK + "ExportedBlockKeys");
        Object exported = exportedClass.getConstructor(boolean.class, long.class, long.class, keyClass, keys.getClass())
            .newInstance(true, day, day, key, keys);
        managerClass.getMethod("addKeys", exportedClass).invoke(manager, exported);
        Class<?> blockClass = Class.forName("org.apache.hadoop.hdfs.protocol.ExtendedBlock");
        Object block = blockClass.getConstructor(String.class, long.class).newInstance(words[5], Long.parseLong(words[6]));
        Token token = new Token(HEX.parseHex(words[1]), HEX.parseHex(words[2]),
            new org.apache.hadoop.io.Text("HDFS_BLOCK_TOKEN"), new org.apache.hadoop.io.Text(""));
        Method checkAccess = managerClass.getMethod("checkAccess", Token.class, String.class, blockClass, modeClass());
        checkAccess.invoke(manager, token, null, block, mode(words[7]));
        return "OK";
    }
}
