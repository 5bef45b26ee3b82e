import java.io.File;
import org.junit.Test;

public class Leak {
    @Test
    public void leak() throws Exception {
        File.createTempFile("leak-", ".txt");
    }
}
