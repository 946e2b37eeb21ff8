<?php

declare(strict_types=1);

// Opens the box of each line of the standard input, by libsodium: key, associated data and box as hex, then the text.

while (($line = fgets(STDIN)) !== false) {
    [$key, $associated, $box] = array_map('hex2bin', explode(' ', rtrim($line, "\n")));
    $sealing = hash_hkdf('sha256', $key, 32, 'rowlink seal v1');
    [$nonce, $sealed] = [substr($box, 0, 24), substr($box, 24)];
    $text = sodium_crypto_aead_xchacha20poly1305_ietf_decrypt($sealed, $associated, $nonce, $sealing);
    echo $text === false ? 'does not open' : $text, "\n";
}
