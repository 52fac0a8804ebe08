<?php
// Signs a link into a course of nbgate. PHP 8 and its own extensions; docs/links.md has the form.
//
//     require_once 'sign.php';
//     $link = nbgate_signed_link('https://nb.example.org', $kid, $secret,
//                                ['demo', 'w1', 'first.ipynb', $student]);
//
// Run as a program it signs what it reads, as JSON, from standard input.

/**
 * Returns a link that opens a notebook for a student.
 *
 * @param string   $origin   `https://host` of the gateway.
 * @param string   $kid      the key's id.
 * @param string   $secret   the key's secret, as `nbgate link key add` prints it.
 * @param string[] $names    course, then folders and name of the notebook, then the student.
 * @param int      $lifetime seconds.
 * @param string[] $more     `name` (what pages call the student), `nonce` (for one use), or
 *                           anything that Jupyter is to get.
 * @param int|null $now      seconds since the epoch; null for the clock's.
 * @throws InvalidArgumentException with such a name another link would have the same signature.
 */
function nbgate_signed_link(string $origin, string $kid, string $secret, array $names,
                            int $lifetime = 600, array $more = [], ?int $now = null): string
{
    foreach ($names as $name) {
        if (in_array($name, ['', '.', '..'], true) || preg_match('~[/\\\\]|\p{Cc}~u', $name) !== 0) {
            throw new InvalidArgumentException('names: a slash, a control character, or nothing');
        }
    }
    foreach ($more as $name => $value) {
        if (in_array($name, ['kid', 'exp', 'sig'], true) || preg_match('/\p{Cc}/u', $value) !== 0
            || !preg_match('/^[A-Za-z0-9._~-]{1,64}$/D', (string) $name)) {
            throw new InvalidArgumentException("more: a parameter's name, or a control character");
        }
    }
    if (count($names) < 2) {
        throw new InvalidArgumentException('names: a course and a student, at least');
    }
    $segments = array_merge(['gateway', 'open'], $names);
    $parameters = ['kid' => $kid, 'exp' => (string) (($now ?? time()) + $lifetime)] + $more;
    ksort($parameters, SORT_STRING);
    $lines = ['nbgate-link-1', '/' . implode('/', $segments)];
    foreach ($parameters as $name => $value) {
        $lines[] = $name . '=' . $value;
    }
    $parameters['sig'] = hash_hmac('sha256', implode("\n", $lines), $secret);
    ksort($parameters, SORT_STRING);
    $query = http_build_query($parameters, '', '&', PHP_QUERY_RFC3986);
    return $origin . '/' . implode('/', array_map('rawurlencode', $segments)) . '?' . $query;
}

if (PHP_SAPI === 'cli' && realpath($_SERVER['SCRIPT_FILENAME']) === __FILE__) {
    echo nbgate_signed_link(...json_decode(stream_get_contents(STDIN), true)), "\n";
}
