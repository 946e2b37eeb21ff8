<?php

declare(strict_types=1);

// Signs one link per form-encoded line of standard input; prints one URL per line.

require $argv[1] . '/Rowlink.php';

while (($line = fgets(STDIN)) !== false) {
    $said = ['filter' => [], 'claim' => [], 'option' => []];
    // parse_str would replace dots in names.
    foreach (explode('&', rtrim($line, "\n")) as $pair) {
        [$name, $value] = array_map('urldecode', explode('=', $pair, 2));
        [$group, $member] = [...explode('.', $name, 2), ''];
        match ($group) {
            'filter' => $said['filter'][$member][] = $value,
            'claim', 'option' => $said[$group][$member] = $value,
            default => $said[$name] = $value,
        };
    }
    $number = fn (string $name): ?int => isset($said[$name]) ? (int) $said[$name] : null;
    try {
        $rowlink = new Rowlink($said['public_url'], $said['key']);
        echo $rowlink->mint(
            $said['export'],
            $said['format'],
            $said['user'],
            $number('expires_in'),
            $said['filter'],
            $said['claim'],
            $said['option'],
            filename: $said['filename'] ?? null,
            notBefore: $number('not_before'),
            ip: $said['ip'] ?? null,
            maxRows: $number('max_rows'),
            maxBytes: $number('max_bytes'),
            issued: $number('issued'),
            linkId: $said['link_id'] ?? null,
        ), "\n";
    } catch (InvalidArgumentException $refusal) {
        echo 'refused ', $refusal->getMessage(), "\n";
    }
}
