<?php

declare(strict_types=1);

/** Signs download links offline. Implements docs/signed-link.md. */
final class Rowlink
{
    private const KEY_BYTES_MIN = 32;
    private const REASON = '~\A[^\x00-\x1F\x7F\x{80}-\x{9F}]{1,200}\z~u';
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
        $line = '~^([A-Za-z0-9_-]{1,16}):([A-Za-z0-9+/]+)=*(?::([^\s,:]+))?$~D';
        self::check('key', preg_match($line, trim($key), $parts) === 1);
        $this->keyId = $parts[1];
        $this->secret = (string) base64_decode($parts[2], true);
        self::check('key', strlen($this->secret) >= self::KEY_BYTES_MIN);
        $this->scope = $parts[3] ?? null;
    }

    /** Omits the key from dumps. */
    public function __debugInfo(): array
    {
        return ['publicUrl' => $this->publicUrl, 'keyId' => $this->keyId];
    }

    /**
     * Returns the signed URL of a file for `$user`. Times are Unix seconds.
     *
     * @param string|null $format null for a stored document
     * @param int $expiresIn lifetime in seconds from `$issued` (default: now)
     * @param array<string, scalar|list<scalar>> $filters
     * @param array<string, string> $claims
     * @param array<string, string> $options named as in the link, without `rl_`: `['csv.delimiter' => ';']`
     * @param list<string> $reveal columns with a scope that the user may see; all others with a scope are withheld. Never
     *     take it from a request
     * @param string|null $ip client address or network (CIDR) that may use the link
     * @param bool $singleUse whether the link works only once
     * @param bool $confirm whether a browser shows a page with a button first
     * @param string|null $bind SHA-256 of a cookie's value in hex: the link works only in the browser that has this cookie
     * @param string|null $reason why the user wants the file, in at most 200 characters
     * @throws InvalidArgumentException naming the field if a value is invalid
     */
    public function mint(
        string $export,
        ?string $format,
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
        ?int $resumeSeconds = null,
        bool $singleUse = false,
        bool $confirm = false,
        ?string $bind = null,
        ?string $reason = null,
        ?int $issued = null,
        ?string $linkId = null,
        array $reveal = [],
    ): string {
        $issued ??= time();
        self::check('export', preg_match('~^[A-Za-z0-9_-]{1,64}$~D', $export) === 1);
        self::check('format', $format === null || preg_match('~^[a-z0-9]+$~D', $format) === 1);
        self::check('user', self::isText($user));
        self::check('expiresIn', $expiresIn >= 1);
        self::check('notBefore', ($notBefore ?? 0) >= 0);
        self::check('maxRows', ($maxRows ?? 1) >= 1);
        self::check('maxBytes', ($maxBytes ?? 1) >= 1);
        self::check('resumeSeconds', ($resumeSeconds ?? 1) >= 1);
        self::check('bind', $bind === null || preg_match('~^[0-9a-f]{64}$~D', $bind) === 1);
        self::check('reason', $reason === null || preg_match(self::REASON, $reason) === 1);
        $isName = fn (string $name) => self::isText($name) && !str_contains($name, ',');
        $isReveal = array_filter($reveal, $isName) === $reveal && array_unique($reveal) === $reveal;
        self::check('reveal', $isReveal);
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
            'resume' => $resumeSeconds,
            'single_use' => $singleUse ? 'true' : null,
            'confirm' => $confirm ? 'true' : null,
            'bind' => $bind,
            'reason' => $reason,
            'filename' => $filename,
            'reveal' => $reveal === [] ? null : implode(',', $reveal),
        ];
        $pairs = [];
        foreach (array_filter($reserved, fn ($value) => $value !== null) as $name => $value) {
            $pairs[] = self::encodedPair("rl_$name", (string) $value);
        }
        foreach ($claims as $name => $value) {
            self::check("claims.$name", preg_match('~^[A-Za-z0-9_]{1,64}$~D', (string) $name) && self::isText($value));
            $pairs[] = self::encodedPair("rl_claim.$name", $value);
        }
        foreach ($options as $name => $value) {
            $known = '~^(columns|timezone|language|end_line|length|delivery|(csv|tsv|xlsx|ndjson|json|parquet|zip)\.[a-z_]+)$~D';
            self::check("options.$name", preg_match($known, (string) $name) === 1);
            $pairs[] = self::encodedPair("rl_$name", self::text($value));
        }
        foreach ($filters as $name => $values) {
            self::check("filters.$name", $name !== '' && !str_starts_with((string) $name, 'rl_'));
            foreach (is_array($values) ? $values : [$values] as $value) {
                $pairs[] = self::encodedPair((string) $name, self::text($value));
            }
        }

        // Sorts by name, then by value, bytewise.
        usort($pairs, fn (array $a, array $b) => strcmp($a[0], $b[0]) ?: strcmp($a[1], $b[1]));
        $query = implode('&', array_map(fn (array $pair) => implode('=', $pair), $pairs));
        $path = $format === null ? "/v1/files/$export" : "/v1/exports/$export.$format";
        $signature = hash_hmac('sha256', "ROWLINK1-HMAC-SHA256\n$path\n$query", $this->secret);
        $url = "$this->publicUrl$path?$query&rl_signature=$signature";
        self::check('url', strlen($url) <= self::URL_BYTES_MAX);
        return $url;
    }

    /** Throws if the value is invalid. The message omits the value, which may be a secret. */
    private static function check(string $field, bool $valid): void
    {
        if (!$valid) {
            throw new InvalidArgumentException("$field: invalid value; see docs/signed-link.md");
        }
    }

    private static function isText(string $text): bool
    {
        return $text !== '' && strlen($text) <= 256 && preg_match('~\A[^\x00-\x1F\x7F\x{80}-\x{9F}]+\z~u', $text) === 1;
    }

    private static function text(string|int|float|bool $value): string
    {
        return is_bool($value) ? ($value ? 'true' : 'false') : (string) $value;
    }

    /** @return array{string, string} */
    private static function encodedPair(string $name, string $value): array
    {
        return [rawurlencode($name), rawurlencode($value)];
    }

    /** Returns a new UUIDv7 (RFC 9562, section 5.7). */
    private static function uuid7(): string
    {
        $bytes = substr(pack('J', (int) (microtime(true) * 1000)), 2) . random_bytes(10);
        $bytes[6] = chr(ord($bytes[6]) & 0x0F | 0x70);
        $bytes[8] = chr(ord($bytes[8]) & 0x3F | 0x80);
        return vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split(bin2hex($bytes), 4));
    }
}
