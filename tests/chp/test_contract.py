"""The contract of configurable-http-proxy, line by line, each with the tests that show it.

Modules named `differential…` send the same to the real one. A test that is no longer there under
its name fails here, so that no line loses its test unnoticed.
"""

from __future__ import annotations

import pytest

from tests.support.named import gone, lines_of

# What it does → tests, as `module: name`, without the `test_` of either; modules without a folder
# are those beside this one.
CONTRACT: dict[str, dict[str, list[str]]] = {
    "REST API": {
        "callers say `token <secret>`, the word in lower case; all else is 403": [
            "differential_api: token",
            "api: without_the_token_everything_is_403",
        ],
        "without a token it is open, to this machine alone, and that is told": [
            "options: open_api_listens_on_loopback_only",
            "options: open_api_may_listen_on_loopback",
            "api: programs_are_let_in",
            "api: pages_are_not",
            "api: rebound_names_are_not",
        ],
        "GET of all routes tells targets, extras and activity, of the default target too": [
            "api: all_routes_are_told_with_the_default_one",
            "differential_api: transcript",
        ],
        "inactiveSince and inactive_since are strict bounds; a bad date is 400": [
            "api: inactive_since_is_strict",
            "api: inactive_since_a_bad_date_is_400",
            "differential_api: inactive_since",
            "differential_api: inactive_since_is_strict",
        ],
        "GET of one route is by its exact key, else 404 and empty": [
            "api: one_route_is_told_by_its_exact_key",
        ],
        "POST is 201 and empty, and overwrites": [
            "api: post_overwrites",
            "api: route_is_used_at_once_and_gone_at_once",
            "differential_api: transcript",
        ],
        "POST of what is no JSON is 400": [
            "api: body_that_is_no_json_is_400",
            "differential_api: body_that_is_no_json",
        ],
        "POST without a target that is a string is 400": [
            "api: body_without_a_target_is_400",
            "differential_api: transcript",
        ],
        "DELETE is 204, then 404, both empty": ["api: delete_is_204_then_404_both_empty"],
        "other methods are 405, other paths 404": [
            "api: other_methods_are_405",
            "api: other_paths_are_404",
            "differential_api: transcript",
        ],
        "keys are decoded once, begin with a slash and lose those at the end": [
            "api: keys_are_decoded_once_and_lose_a_trailing_slash",
            "differential_api: transcript",
        ],
        "extras come back verbatim": [
            "api: extras_come_back_verbatim_but_last_activity_is_ours",
            "differential_api: transcript",
        ],
        "last_activity is in milliseconds of UTC, and that of the adding at first": [
            "api: extras_come_back_verbatim_but_last_activity_is_ours",
            "book: activity_begins_anew_with_a_route",
            "differential_activity: setting_a_route_again",
        ],
    },
    "Command line": {
        "all options with their defaults": [
            "options: help_has_the_options_and_defaults_of_the_contract",
            "options: defaults",
            "differential_process: options_are_those_that_it_has",
        ],
        "both --x=v and --x v": [
            "options: values_follow_or_stand_behind_an_equals_sign",
        ],
        "the API's port is the one behind the public one": [
            "options: api_port_follows_the_port",
        ],
        "what cannot be meant is exit code 1 and one line": [
            "options: what_makes_no_sense_is_one_line",
            "options: what_keeps_it_from_serving_is_one_line_and_1",
            "differential_process: what_cannot_be_is_exit_code_1",
        ],
        "SIGTERM and SIGINT are exit code 2, and the file with the process id goes": [
            "process: it_serves_tells_so_and_ends_with_2",
            "differential_process: output_pid_file_and_end",
        ],
        "tokens and passphrases come from the environment": [
            "options: token_may_be_in_a_file",
            "differential_tls: passphrase_of_a_key",
            "tls: passphrase_and_parameters",
        ],
        "--ip may be the name of a host": [
            "process: it_serves_tells_so_and_ends_with_2",
            "process: host_that_has_no_address_is_one_line",
        ],
        "a custom header needs a colon": ["differential_process: what_cannot_be_is_exit_code_1"],
        "callers find `Route added /` and the redirection in its output": [
            "process: it_serves_tells_so_and_ends_with_2",
            "process: http_is_sent_on_to_https",
            "differential_process: output_pid_file_and_end",
            "differential_process: http_is_sent_on_to_https",
        ],
        "TLS towards clients: keys, authorities, versions, ciphers": [
            "differential_tls: clients_come_over_tls",
            "differential_tls: one_version",
            "differential_tls: ciphers",
            "differential_tls: clients_must_have_a_certificate",
        ],
        "TLS towards targets": [
            "differential_tls: targets_over_tls",
            "differential_tls: targets_that_ask_for_a_certificate",
            "differential_tls: targets_that_nobody_vouches_for",
        ],
        "sockets in place of ports": [
            "process: unix_sockets_stale_ones_are_replaced_and_ours_removed",
            "hub/sockets: person_computes_though_nothing_has_a_port",
        ],
        "--timeout and --proxy-timeout bound the wait for an answer": [
            "differential_process: upstream_that_does_not_answer",
            "asked_for: a_bound_that_is_asked_for_ends_it",
        ],
        "/_chp_healthz": ["differential_process: health"],
    },
    "Routing": {
        "the longest prefix by whole segments of the decoded path": [
            "routing: longest_prefix_by_segments_of_the_decoded_path",
            "fuzz_paths: key_and_what_is_beneath_it_meet",
            "differential: path",
            "differential: routes_that_come_and_go_by_chance",
        ],
        "hosts before paths, and / for those without a route": [
            "routing: host_chooses_and_slash_is_the_fallback",
            "differential: host_routing",
        ],
        "path and query go on raw, behind the target's": [
            "routing: path_and_query_are_forwarded_byte_for_byte",
            "routing: encoded_base_of_a_hub_is_routed_and_left_as_it_was",
            "fuzz_paths: what_is_forwarded_is_what_came",
            "differential: path",
            "differential: query_of_a_target_comes_before_the_requests",
        ],
        "the prefix can be cut off": [
            "routing: prefix_is_cut_as_it_was_written",
            "differential: path_without_its_prefix",
        ],
        "the target's path can be left out": [
            "routing: path_of_the_target_can_be_left_out",
            "differential: path_where_targets_have_none_to_prepend",
        ],
        "targets may be Unix sockets": [
            "routing: unix_socket_targets",
            "differential: unix_sockets",
        ],
        "a broken escape is 500": [
            "routing: malformed_escape_is_500",
            "differential_process: statuses",
        ],
    },
    "Headers": {
        "X-Forwarded-* are appended to, and tell host, port and scheme": [
            "headers: forwarded_headers_tell_the_client",
            "headers: forwarded_headers_are_appended_to_and_host_is_left",
            "headers: upgrades_are_told_as_ws",
            "differential: headers_of_requests",
        ],
        "they can be left alone": ["headers: forwarded_headers_can_be_left_alone"],
        "other headers pass as they are written": [
            "headers: headers_pass_as_written_repeated_and_in_order",
            "headers: answers_pass_as_written_and_say_keep_alive",
            "differential_answers: answers",
        ],
        "custom headers replace the client's": [
            "headers: custom_headers_replace_the_clients",
            "differential: custom_headers",
        ],
        "the target's own name can be sent": [
            "headers: origin_can_be_changed",
            "differential: changed_origin",
        ],
        "a Location that names the target can be rewritten": [
            "headers: location_is_rewritten_where_asked_and_where_it_names_the_target",
            "differential_answers: location",
        ],
        "connections of clients are kept, also after errors": [
            "differential_websockets: connections_are_kept_and_requests_answered_in_order",
            "errors: connection_lives_on_after_an_error",
        ],
    },
    "Errors": {
        "404 without a route, 503 without an upstream, 500 for the rest": [
            "errors: no_route_is_404_and_no_upstream_503",
            "differential_process: statuses",
        ],
        "an error target is asked for its page; status ours, two headers kept": [
            "errors: its_page_is_told_under_our_status",
            "differential_process: pages_of_an_error_target",
        ],
        "the reason phrase where that fails": [
            "errors: where_it_fails_the_phrase_is_told",
            "differential_process: error_target_that_fails",
        ],
        "a folder has a page for the status, or a general one": [
            "errors: page_of_the_status_else_the_general_one",
            "differential_process: pages_of_a_folder",
        ],
        "a WebSocket gets a bare status": [
            "errors: without_a_route_is_a_bare_404_and_the_connection_is_not_held",
            "differential_websockets: nothing_to_upgrade_to",
        ],
        "an answer that is no upgrade is relayed": [
            "errors: upstream_that_does_not_upgrade_is_relayed",
            "differential_websockets: answer_that_is_no_upgrade",
        ],
        "an error while streaming breaks the connection": [
            "errors: error_while_streaming_breaks_the_connection",
        ],
    },
    "last_activity": {
        "a finished answer below 300 counts, others do not": [
            "activity: finished_answer_below_300_counts",
            "activity: nobody_behind_it_does_not_count",
            "differential_activity: answers",
        ],
        "each byte of a request's body counts": [
            "activity: each_byte_of_a_request_counts",
            "differential_activity: bytes_of_a_request_whatever_the_answer",
        ],
        "a download under way does not count": [
            "activity: download_in_progress_does_not_count_until_it_ends",
            "differential_activity: download_under_way",
        ],
        "of a WebSocket what the client sends counts, but pongs": [
            "activity: websocket_counts_what_a_client_sends_but_pongs",
            "differential_activity: handshake_and_what_a_server_sends",
            "differential_activity: what_a_client_sends_but_pongs",
        ],
    },
    "Metrics": {
        "names, types, labels and quantiles": [
            "differential_process: metrics",
            "process: metrics_have_the_names_that_dashboards_know",
            "fleet_parts: quantiles_are_right_to_within_five_percent",
        ],
    },
    "JupyterHub as the client": {
        "it starts the command, and polls, and sets its routes": [
            "hub/hub: person_logs_in_opens_the_server_and_computes",
            "hub/older_hub: person_computes_and_a_killed_proxy_comes_back",
        ],
        "it finds no route stale or missing that is right": [
            "hub/hub: name_that_has_to_be_escaped_keeps_its_route",
        ],
        "it reads last_activity": ["hub/hub: activity_at_the_proxy_reaches_the_hub"],
        "it starts the proxy again, and sets all routes once more": [
            "hub/hub: killed_proxy_comes_back_with_its_routes",
        ],
        "its pages for errors": ["hub/hub: server_that_is_gone_gets_the_page_of_the_hub"],
        "internal TLS": [
            "hub/internal_tls: person_computes_through_servers_that_want_certificates"
        ],
        "subdomains": ["hub/subdomains: person_has_an_origin_and_computes_there"],
        "it leaves routes of others alone": [
            "hub/gateway: hub_deletes_what_it_has_lost_and_no_other",
        ],
        "an external proxy, and moving to another one": [
            "hub/external: person_computes_through_a_proxy_that_the_hub_did_not_start",
            "hub/external: hub_is_told_of_another_proxy_and_moves_there",
        ],
    },
    "Faults that are not ours": {
        "a chunked DELETE becomes two requests": [
            "known_faults: chunked_body_becomes_no_second_request",
        ],
        "two calls of the API are never answered": [
            "api: delete_of_the_whole_path_answers",
            "api: broken_escape_is_400",
        ],
        "a WebSocket without a route keeps the client's socket": [
            "errors: without_a_route_is_a_bare_404_and_the_connection_is_not_held",
        ],
        "//host/x is taken for /x": ["known_faults: two_slashes_in_front_are_no_host"],
        "hop-by-hop headers pass": ["known_faults: hop_by_hop_headers_end_here"],
        "the prefix is cut by its decoded length": [
            "known_faults: prefix_is_cut_as_it_was_written",
        ],
        "stale sockets stay": ["known_faults: stale_sockets_are_replaced"],
        "memory and sockets leak": [
            "leaks: memory_descriptors_and_tasks_return_to_where_they_were",
        ],
        "requests are cut off after two minutes": [
            "asked_for: a_request_may_take_hours_at_each_step",
            "asked_for: a_tunnel_may_be_silent_for_hours",
        ],
        "TLS files are read once": [
            "tls: renewed_files_are_used_and_broken_ones_are_not",
            "tls: new_handshakes_get_the_renewed_certificate",
        ],
        "routes are lost at a restart": [
            "keeping: routes_are_there_after_a_restart_with_all_they_came_with",
            "keeping: nothing_that_was_flushed_is_lost_to_a_kill",
        ],
        "one process, one core": [
            "known_faults: more_processes_than_one_serve_clients",
            "fleet: every_worker_has_a_change_when_it_is_answered",
            "fleet: activity_and_counts_of_all_workers_are_told",
            "fleet: killed_worker_loses_its_own_connections_only",
            "fleet: killed_control_loses_no_route_and_nothing_that_runs",
            "hub/workers: person_computes_while_one_process_after_the_other_is_killed",
        ],
    },
    "What its users ask for": {
        "a hundred log-ins at once": [
            "asked_for: a_hundred_people_at_once_without_a_failure",
            "hub/hub: a_hundred_people_log_in_at_once",
        ],
        "large uploads": ["asked_for: uploads_have_no_bound"],
        "an end without visible errors": [
            "process: requests_in_flight_are_finished_at_the_end",
        ],
        "an image": ["front/proxy_image: proxy_runs_read_only_and_without_root_and_takes_routes"],
        "files that follow the routes": [
            "keeping: file_follows_by_itself",
            "keeping: file_of_a_process_follows_by_itself",
        ],
    },
}


@pytest.mark.parametrize("tests", lines_of(CONTRACT))
def test_each_line_has_its_tests(tests: list[str]) -> None:
    assert tests
    assert not gone(tests, folder="chp")
