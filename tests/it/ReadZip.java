import java.io.FileInputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;

/** Prints the name and size of each file in a ZIP archive, which is read from its start to its end, without its directory. */
public class ReadZip {
    public static void main(String[] arguments) throws Exception {
        try (ZipInputStream archive = new ZipInputStream(new FileInputStream(arguments[0]))) {
            for (ZipEntry entry; (entry = archive.getNextEntry()) != null; ) {
                System.out.println(entry.getName() + " " + archive.readAllBytes().length);
            }
        }
    }
}
