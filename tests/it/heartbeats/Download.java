// Writes what the link in the variable URL gives, decoded, to the file in the variable FILE.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.GZIPInputStream;

class Download {
    public static void main(String[] arguments) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(System.getenv("URL"))).header("Accept-Encoding", "gzip").build();
        var response = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofInputStream());
        try (var body = new GZIPInputStream(response.body())) {
            Files.copy(body, Path.of(System.getenv("FILE")));
        }
    }
}
