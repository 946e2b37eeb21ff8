<?php

declare(strict_types=1);

/** Makes signed download links without asking the service: docs/signed-link.md in PHP. */
final class Rowlink
{
    private const KEY_BYTES_MIN = 32;
    private const URL_BYTES_MAX = 4096;

    private string $publicUrl;
    private string $keyId;
    private string $secret;
    private ?string $scope;

    /**
     * @param string $key the line that `rowlink keygen` prints
     */
    public function __construct(string $publicUrl, #[SensitiveParameter] string $key)
    {
        $this->publicUrl = rtrim($publicUrl, '/');
        $parts = explode(':', trim($key), 3);
        $secret = base64_decode($parts[1] ?? '', true);
        if ($secret === false || strlen($secret) < self::KEY_BYTES_MIN) {
            // Says nothing of what is in it.
            throw new InvalidArgumentException('key: expected `id:base64` of at least 32 bytes');
        }
        $this->keyId = $parts[0];
        $this->secret = $secret;
        $this->scope = $parts[2] ?? null;
    }

    /**
     * The URL of a file for `$user`. Times are Unix seconds.
     *
     * @param int $expiresIn seconds from `$issued`, which is now
     * @param array<string, string|list<string>> $filters
     * @param array<string, string> $claims
     * @param array<string, string> $options as the link names them, without `rl_`: `['csv.delimiter' => ';']`
     * @param string|null $ip the address or network it works from
     */
    public function mint(
        string $export,
        string $format,
        string $user,
        int $expiresIn = 60,
        array $filters = [],
        array $claims = [],
        array $options = [],
        ?string $filename = null,
        ?int $notBefore = null,
        ?string $ip = null,
        ?int $maxRows = null,
        ?int $maxBytes = null,
        ?int $issued = null,
        ?string $linkId = null,
    ): string {
        if ($user === '' || strlen($user) > 256) {
            throw new InvalidArgumentException('user: expected 1 to 256 bytes');
        }
        if ($expiresIn < 1) {
            throw new InvalidArgumentException('expiresIn: expected at least 1 second');
        }
        $issued ??= time();
        $reserved = [
            'user' => $user,
            'link' => $linkId ?? self::uuid7(),
            'issued' => $issued,
            'expires' => $issued + $expiresIn,
            'key' => $this->keyId,
            'scope' => $this->scope,
            'not_before' => $notBefore,
            'ip' => $ip,
            'max_rows' => $maxRows,
            'max_bytes' => $maxBytes,
            'filename' => $filename,
            ...$options,
        ];
        foreach ($claims as $name => $value) {
            $reserved["claim.$name"] = $value;
        }
        $pairs = [];
        foreach ($reserved as $name => $value) {
            if ($value !== null) {
                $pairs[] = self::encoded("rl_$name", (string) $value);
            }
        }
        foreach ($filters as $name => $values) {
            if (str_starts_with((string) $name, 'rl_')) {
                throw new InvalidArgumentException("filters.$name: names that start with rl_ are reserved");
            }
            foreach ((array) $values as $value) {
                $pairs[] = self::encoded((string) $name, (string) $value);
            }
        }

        // Sorted by name, then by value, bytewise.
        usort($pairs, fn (array $a, array $b) => strcmp($a[0], $b[0]) ?: strcmp($a[1], $b[1]));
        $query = implode('&', array_map(fn (array $pair) => implode('=', $pair), $pairs));
        $path = "/v1/exports/$export.$format";
        $signature = hash_hmac('sha256', "ROWLINK1-HMAC-SHA256\n$path\n$query", $this->secret);
        $url = "$this->publicUrl$path?$query&rl_signature=$signature";
        if (strlen($url) > self::URL_BYTES_MAX) {
            throw new LengthException('url: ' . strlen($url) . ' bytes long, expected at most 4096');
        }
        return $url;
    }

    /** @return array{string, string} */
    private static function encoded(string $name, string $value): array
    {
        return [rawurlencode($name), rawurlencode($value)];
    }

    /** RFC 9562, section 5.7. */
    private static function uuid7(): string
    {
        $bytes = substr(pack('J', (int) (microtime(true) * 1000)), 2) . random_bytes(10);
        $bytes[6] = chr(ord($bytes[6]) & 0x0F | 0x70);
        $bytes[8] = chr(ord($bytes[8]) & 0x3F | 0x80);
        return vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split(bin2hex($bytes), 4));
    }
}
