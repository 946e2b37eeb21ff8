<?php

declare(strict_types=1);

// Signs one link per form-encoded line of standard input; prints one URL per line.

require $argv[1] . '/Rowlink.php';

while (($line = fgets(STDIN)) !== false) {
    $fields = ['filter' => [], 'claim' => [], 'option' => []];
    // parse_str would replace dots in names.
    foreach (explode('&', rtrim($line, "\n")) as $pair) {
        [$name, $value] = array_map('urldecode', explode('=', $pair, 2));
        [$group, $member] = [...explode('.', $name, 2), ''];
        match ($group) {
            'filter' => $fields['filter'][$member][] = $value,
            'claim', 'option' => $fields[$group][$member] = $value,
            default => $fields[$name] = $value,
        };
    }
    $number = fn (string $name): ?int => isset($fields[$name]) ? (int) $fields[$name] : null;
    try {
        $rowlink = new Rowlink($fields['public_url'], $fields['key']);
        echo $rowlink->mint(
            $fields['export'],
            $fields['format'] ?? null,
            $fields['user'],
            $number('expires_in'),
            $fields['filter'],
            $fields['claim'],
            $fields['option'],
            filename: $fields['filename'] ?? null,
            notBefore: $number('not_before'),
            ip: $fields['ip'] ?? null,
            maxRows: $number('max_rows'),
            maxBytes: $number('max_bytes'),
            resumeSeconds: $number('resume_seconds'),
            singleUse: ($fields['single_use'] ?? '') === 'true',
            confirm: ($fields['confirm'] ?? '') === 'true',
            bind: $fields['bind'] ?? null,
            reason: $fields['reason'] ?? null,
            issued: $number('issued'),
            linkId: $fields['link_id'] ?? null,
            reveal: isset($fields['reveal']) ? explode(',', $fields['reveal']) : [],
        ), "\n";
    } catch (InvalidArgumentException $refusal) {
        echo 'refused ', $refusal->getMessage(), "\n";
    }
}
