<?php

declare(strict_types=1);

// Decrypts sealed contents with libsodium. Each input line: key, associated data and box in hex. Prints the text.

while (($line = fgets(STDIN)) !== false) {
    [$key, $associated, $box] = array_map('hex2bin', explode(' ', rtrim($line, "\n")));
    $sealing = hash_hkdf('sha256', $key, 32, 'rowlink seal v1');
    [$nonce, $sealed] = [substr($box, 0, 24), substr($box, 24)];
    $text = sodium_crypto_aead_xchacha20poly1305_ietf_decrypt($sealed, $associated, $nonce, $sealing);
    echo $text === false ? 'does not open' : $text, "\n";
}
