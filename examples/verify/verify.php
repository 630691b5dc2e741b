<?php
// Checks assertions of linkgate with PHP alone (openssl, json). Usage: php verify.php KEY_SET_URL ISSUER AUDIENCE
// < assertions, one a line
declare(strict_types=1);

[, $url, $issuer, $audience] = $argv;

/** The keys by their IDs. They may be kept for five minutes: a new one is shown for longer than that before it signs. */
function keys(string $url): array
{
    static $keys, $until = 0;
    if (time() >= $until) {
        $set = json_decode(file_get_contents($url), true, flags: JSON_THROW_ON_ERROR);
        [$keys, $until] = [array_column($set['keys'], null, 'kid'), time() + 300];
    }
    return $keys;
}

function bytes(string $text): string
{
    $bytes = preg_match('/\A[\w-]+\z/', $text) ? base64_decode(strtr($text, '-_', '+/'), true) : false;
    return $bytes === false ? throw new UnexpectedValueException('it is not base64url') : $bytes;
}

/** The public key as PEM (RFC 5480). */
function pem(array $key): string
{
    $head = hex2bin('3059301306072a8648ce3d020106082a8648ce3d03010703420004');
    $der = $head . bytes($key['x']) . bytes($key['y']);
    return "-----BEGIN PUBLIC KEY-----\n" . chunk_split(base64_encode($der), 64, "\n") . "-----END PUBLIC KEY-----\n";
}

/** The signature as OpenSSL wants it: a sequence of two integers in place of their 32 bytes each. */
function der(string $signature): string
{
    $parts = '';
    foreach (str_split($signature, 32) as $number) {
        $number = ltrim($number, "\0");
        $number = $number === '' || ord($number[0]) > 127 ? "\0" . $number : $number;
        $parts .= "\x02" . chr(strlen($number)) . $number;
    }
    return "\x30" . chr(strlen($parts)) . $parts;
}

function verify(string $assertion, array $keys, string $issuer, string $audience): array
{
    $parts = explode('.', $assertion);
    if (count($parts) !== 3) throw new UnexpectedValueException('it has not three parts');
    [$header, $claims, $signature] = array_map(bytes(...), $parts);
    $header = json_decode($header, true, flags: JSON_THROW_ON_ERROR);
    if (($header['alg'] ?? null) !== 'ES256') throw new UnexpectedValueException('it is not ES256');
    if (isset($header['crit'])) throw new UnexpectedValueException('it demands something unknown');
    $key = $keys[$header['kid'] ?? ''] ?? throw new UnexpectedValueException('its key is unknown');
    $signed = "$parts[0].$parts[1]";
    if (strlen($signature) !== 64 || openssl_verify($signed, der($signature), pem($key), OPENSSL_ALGO_SHA256) !== 1) {
        throw new UnexpectedValueException('its signature is wrong');
    }
    $claims = json_decode($claims, true, flags: JSON_THROW_ON_ERROR);
    foreach (['exp', 'iat'] as $name) {
        if (!is_int($claims[$name] ?? null)) throw new UnexpectedValueException("it lacks $name");
    }
    $now = time();
    if ($now > $claims['exp'] + 10) throw new UnexpectedValueException('it is over');
    if ($now < max($claims['iat'], $claims['nbf'] ?? 0) - 10) throw new UnexpectedValueException('it is not good yet');
    if (($claims['iss'] ?? null) !== $issuer) throw new UnexpectedValueException('it is from another issuer');
    if (($claims['aud'] ?? null) !== $audience) throw new UnexpectedValueException('it is for others');
    if (!is_string($claims['sub'] ?? null)) throw new UnexpectedValueException('it is about nobody');
    return $claims;
}

$refused = 0;
while (($line = fgets(STDIN)) !== false) {
    try {
        $claims = verify(trim($line), keys($url), $issuer, $audience);
        echo "good {$claims['sub']} ", $claims['email'] ?? '-', "\n";
    } catch (UnexpectedValueException | JsonException $error) {
        $refused = 1;
        echo 'refused ', $error->getMessage(), "\n";
    }
}
exit($refused);
