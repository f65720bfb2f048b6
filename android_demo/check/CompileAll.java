import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.jetbrains.kotlin.cli.common.ExitCode;
import org.jetbrains.kotlin.cli.jvm.K2JVMCompiler;

/**
 * Runs Kotlin's compiler once for each line of a file, in one process: the first run pays for its start.
 * A line holds a name and the arguments, separated by tabs; NAME.log beside the file is what the compiler said,
 * its first line how it ended.
 */
public final class CompileAll {
    public static void main(String[] arguments) throws Exception {
        Path jobs = Path.of(arguments[0]);
        for (String line : Files.readAllLines(jobs)) {
            String[] parts = line.split("\t");
            ByteArrayOutputStream said = new ByteArrayOutputStream();
            ExitCode code = new K2JVMCompiler().exec(new PrintStream(said), Arrays.copyOfRange(parts, 1, parts.length));
            Files.writeString(jobs.resolveSibling(parts[0] + ".log"), code + "\n" + said);
        }
    }
}
