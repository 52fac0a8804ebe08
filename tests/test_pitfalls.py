"""What goes wrong where notebooks start on demand, each with the tests that show it does not here.

A test that is no longer there under its name fails this one: no pitfall loses its test unnoticed.
"""

from __future__ import annotations

import re

import pytest

from gateway.settings import Settings
from tests.support.engine import ROOT
from tests.support.named import gone, lines_of

# What goes wrong, or what holds → tests, as `folder/module: name`, without the `test_` of either.
STARTING_ON_DEMAND: dict[str, dict[str, list[str]]] = {
    "A server that dies early": {
        "between its probe and its first request: one more start, and the request arrives": [
            "proxy/decisions: server_that_dies_behind_its_probe_is_started_once_more",
            "faults/containers: one_that_dies_behind_its_probe_is_made_anew",
        ],
        "a refused connection is true, whatever is recorded": [
            "proxy/decisions: refused_connection_wakes_and_is_tried_once_more",
            "proxy/decisions: second_refused_connection_is_502",
            "proxy/decisions: stale_connection_to_a_dead_notebook_wakes_it",
            "end_to_end/activation: dead_server_is_noticed_by_the_next_request",
        ],
        "it is asked for before it is started anew": [
            "activation/activator: suspected_target_is_inspected_and_joined_when_it_runs",
            "activation/activator: suspicion_about_an_older_generation_changes_nothing",
            "activation/activator: running_server_that_cannot_be_probed_is_not_ended",
        ],
        "only what was never sent is sent again, and no POST that was": [
            "proxy/replay: safe_request_on_a_stale_connection_is_sent_again",
            "proxy/replay: unsafe_request_is_never_sent_twice",
            "proxy/replay: request_is_replayed_only_once",
            "proxy/replay: half_an_answer_is_not_replayed",
            "front/fallback: request_that_may_have_changed_something_is_not_sent_again",
        ],
    },
    "A stop that races with a request": {
        "states and generations under a lock of the notebook's": [
            "activation/activator: lock_is_one_for_all_who_want_it_at_once",
            "activation/lifecycle: start_that_is_begun_during_a_stop_stays_announced",
            "activation/faults: withdrawn_start_leaves_a_server_hot_that_was_adopted_meanwhile",
            "activation/reconciler: event_in_the_middle_of_a_start_waits_for_its_end",
            "activation/operations_left: "
            "server_that_was_started_after_a_stop_was_asked_for_is_not_stopped",
            "activation/access: target_stands_until_its_notebook_is_stopped_or_started_again",
        ],
        "what was used and what is under way are looked at just before": [
            "activation/lifecycle: stop_asks_under_the_lock_whether_it_is_still_to_be_done",
            "activation/culler_stops: a_request_at_the_last_moment_is_served",
            "activation/culler_stops: a_kernel_that_begins_to_compute_at_the_last_moment_keeps_it",
            "activation/culler_stops: what_came_to_a_worker_just_before_is_not_cut",
            "activation/faults: who_may_not_come_in_any_more_is_out_though_a_stop_was_called_off",
            "activation/culler_stops: the_route_is_cold_in_the_turn_in_which_it_is_decided",
            "end_to_end/culling_workers: "
            "who_comes_to_a_worker_at_the_last_moment_keeps_the_notebook",
        ],
        "who is connecting meanwhile looks again": [
            "proxy/stopped_meanwhile: stop_between_decision_and_connection",
            "proxy/stopped_meanwhile: stop_while_connecting",
            "proxy/stopped_meanwhile: stop_before_a_request_is_sent_again",
            "workers/fleet: stopped_notebook_is_reached_by_no_worker",
        ],
    },
    "Two gateways and one notebook": {
        "the name is the lock; who loses joins": [
            "app/two_gateways: started_at_both_at_once_runs_once",
            "spawners/docker: starts_at_once_make_one_container",
            "spawners/docker: start_joins_the_server_that_runs",
            "workers/fleet: twenty_requests_at_both_workers_start_one_server",
        ],
        "whose it is and what it was made of are looked at": [
            "spawners/docker: container_of_another_installation_is_refused",
            "spawners/docker: exited_container_of_another_spec_is_made_anew",
            "spawners/docker: exited_container_of_an_older_generation_is_made_anew",
            "app/two_gateways: other_installations_name_is_refused_in_words",
        ],
        "a name that cannot be freed blocks no start": [
            "spawners/removal: container_that_cannot_be_removed_gives_its_name_free",
            "spawners/removal: old_container_that_cannot_be_removed_does_not_block_a_start",
        ],
    },
    "Events of the engine get lost": {
        "first subscribe, then list, then apply": [
            "activation/reconciler_watch: it_subscribes_before_it_lists",
            "activation/reconciler: "
            "news_of_the_current_server_that_is_not_true_any_more_changes_nothing",
        ],
        "go on from the last event's own moment": [
            "activation/reconciler_watch: it_resumes_at_the_last_events_own_moment",
            "spawners/conformance: watch_resumes_with_the_last_event_that_was_seen",
            "spawners/docker_events: resuming_asks_from_a_moment_not_after_the_event",
        ],
        "lists find what no event told, every half minute and with each connection": [
            "activation/reconciler: what_no_event_told_is_found_by_the_next_list",
            "activation/reconciler_watch: "
            "engine_that_goes_away_keeps_hot_routes_and_all_recovers_by_itself",
            "faults/engine_away: engine_that_restarts_and_ends_its_containers",
        ],
        "a watch that dies is told": [
            "activation/reconciler_watch: metrics_tell_when_the_engine_was_heard_of_last",
            "activation/reconciler_watch: a_fault_of_our_own_does_not_end_the_watch",
        ],
    },
    "Zombies": {
        "all has labels; what nobody owns is swept after a while": [
            "spawners/removal: sweep_takes_leftovers_and_nothing_else",
            "spawners/removal: leftovers_are_what_no_start_will_use",
            "spawners/removal: container_that_the_engine_cannot_tell_of_keeps_none_behind_it",
            "activation/faults: stray_that_cannot_be_removed_keeps_none_behind_it",
            "spawners/docker_spec: labels_of_ours_cannot_be_forged",
            "activation/reconciler: "
            "what_ended_by_itself_is_removed_after_a_grace_period_and_what_was_kept_is_not",
        ],
        "what runs is adopted at a start, and a gateway's end stops nothing": [
            "end_to_end/restart: killed_gateway_adopts_what_runs",
            "front/direct: hot_notebook_works_while_the_gateway_is_stopped",
            "activation/lifecycle: adoption_takes_over_only_what_proves_itself",
            "activation/faults: "
            "one_server_that_the_engine_cannot_tell_of_keeps_no_other_from_being_adopted",
            "faults/killed_gateway: killed_at_each_step_of_a_start",
        ],
    },
    "Clocks": {
        "timers are monotonic": [
            "activation/culler_stops: a_jump_of_the_wall_clock_ends_nothing",
            "activation/idleness: a_moment_stays_the_same_though_the_wall_clock_jumps",
        ],
        "what is stored is UTC": ["notebooks/database: moments_are_stored_in_utc_and_read_aware"],
        "the future is now": [
            "activation/idleness: a_moment_in_the_future_is_now",
            "faults/clock_jumps: gateway_seen_in_the_future_is_not_alive_for_ever",
        ],
    },
    "A lecture begins": {
        "a bounded queue, first come, first served": [
            "activation/admission: starts_go_in_the_order_in_which_they_came",
            "activation/admission: owners_take_turns",
            "end_to_end/waiting: class_that_starts_at_once_is_served_in_order",
        ],
        "the place in it is shown": [
            "activation/activator: starts_queue_in_order_and_tell_their_position",
            "web/waiting_streams: place_in_the_queue_is_told_as_it_moves",
            "web/waiting_browser: line_pull_and_start_are_shown_and_the_address_opens",
        ],
        "429 and when to come again, once the queue is full": [
            "activation/admission: full_queue_refuses_and_says_when_to_come_again",
            "web/waiting: full_queue_is_a_page_that_tries_again",
        ],
    },
    "Ten frames of one person whose notebook is cold": {
        "one start, by the notebook, that no client's going away ends": [
            "activation/activator: simultaneous_requests_join_one_start",
            "activation/activator: client_that_goes_away_does_not_cancel_the_start",
            "end_to_end/activation: simultaneous_calls_start_exactly_one_server",
        ],
        "six connections of a browser are enough": [
            "end_to_end/waiting: ten_frames_of_one_cold_notebook_all_come_up",
            "end_to_end/waiting: ten_frames_of_ten_cold_notebooks_all_come_up",
            "end_to_end/waiting: ten_frames_of_ten_cold_notebooks_come_up_in_host_routing",
        ],
        "the waiting page is a 503 that nobody keeps, for pages alone": [
            "web/waiting: page_tells_what_happens_and_is_kept_by_no_cache",
            "activation/access: navigation_gets_the_waiting_page_and_a_call_is_held",
        ],
    },
    "A notebook that can never start": {
        "is not tried again at once, but for the button": [
            "activation/activator: back_off_grows_and_ends_with_success",
            "activation/activator: forgiven_failure_is_tried_again_at_once",
            "web/waiting_failed: button_tries_again_at_once",
        ],
        "the end of its log is for those who may see it": [
            "activation/access: failed_start_is_told_without_its_log",
            "activation/start_told: end_of_the_log_is_shown_without_the_hop_secret",
            "web/waiting_failed: failure_is_told_in_words_with_the_end_of_the_log",
            "cli/notebook: a_failed_start_tells_the_reason_and_the_log",
        ],
        "a missing image is named, and not waited for": [
            "spawners/docker: missing_image_is_named",
            "spawners/pulls: image_that_the_registry_does_not_have_is_named",
            "web/waiting_failed: missing_image_is_named",
            "end_to_end/waiting_engine: image_that_cannot_be_had_is_named",
        ],
    },
    "Time limits of proxies": {
        "a hold is shorter than that of the proxy in front": [
            "pitfalls: requests_are_held_for_less_than_any_front_waits",
            "activation/access: hold_is_bounded_and_says_when_to_come_back",
            "end_to_end/waiting: call_is_held_up_to_the_bound_and_told_when_to_come_again",
        ],
        "none cuts a long socket": [
            "proxy/websockets: tunnel_has_no_idle_cut",
            "front/websockets: silent_tunnel_outlives_the_time_limits_of_requests",
        ],
    },
    "What people ask for most": {
        "what computes is not stopped": [
            "activation/culler: a_busy_kernel_keeps_it_up_to_the_cap",
            "end_to_end/culling: a_forgotten_tab_is_culled_and_what_works_or_is_used_is_not",
            "end_to_end/culling: a_script_that_writes_and_a_terminals_program_keep_their_servers",
        ],
        "forgotten tabs keep nothing": [
            "activation/culler: open_websockets_and_polling_do_not_keep_it",
            "end_to_end/culling: a_forgotten_tab_is_culled_and_what_works_or_is_used_is_not",
        ],
        "the page comes up by itself": [
            "web/waiting_browser: page_opens_by_itself_after_the_gateway_was_away",
            "end_to_end/open_page: one_click_brings_a_stopped_notebook_back_with_its_edits",
            "end_to_end/open_page_ways: stopped_notebook_at_its_own_host",
            "end_to_end/open_page_ways: paused_notebook_goes_on_with_its_kernel",
            "end_to_end/open_page_ways: stopped_notebook_that_httpd_reaches_itself",
            "end_to_end/open_page: "
            "page_comes_back_by_itself_when_the_notebook_is_started_elsewhere",
        ],
        "a check of the operator's own": [
            "activation/culler_stops: a_command_may_veto_up_to_the_cap",
            "activation/culler_stops: a_check_that_cannot_be_asked_is_taken_for_busy",
            "end_to_end/culling: a_projects_check_may_veto",
        ],
    },
    "Containers and their network": {
        "containers may do little": ["spawners/docker: container_is_hardened"],
        "notebooks reach neither each other nor the host": [
            "spawners/docker_network: notebooks_do_not_reach_each_other",
            "spawners/docker_network: notebook_reaches_no_service_of_the_host",
        ],
        "a gateway and an httpd in containers reach them": [
            "spawners/docker_network: gateway_container_reaches_notebooks_after_the_firewall",
            "spawners/docker_network: gateway_and_httpd_of_its_project_join_the_network",
        ],
        "addresses are given out again as late as can be": [
            "spawners/network: released_address_comes_last",
            "spawners/docker: address_that_somebody_else_took_is_passed_over",
            "activation/health: secret_is_not_sent_to_who_has_the_address_now",
        ],
        "a network that a prune took is made anew": [
            "spawners/docker_network: network_that_was_pruned_is_made_anew_by_the_next_start",
        ],
    },
}
JUPYTER_BEHIND_A_GATEWAY: dict[str, dict[str, list[str]]] = {
    "Who may come in": {
        "a good header is enough for Jupyter, so origins are looked at before": [
            "activation/access: requests_of_foreign_pages_are_told_apart",
            "end_to_end/access: another_sites_page_gets_nothing",
            "front/direct: what_foreign_pages_send_is_the_gateways_to_refuse",
        ],
        "no answer lets other origins read it": [
            "proxy/told: notebooks_login_cookies_and_cors_do_not_reach_the_client",
            "front/direct: notebook_grants_no_foreign_origin_and_sets_no_login_cookie",
        ],
        "a stale token in the query does no harm": [
            "proxy/told: token_never_reaches_a_notebook",
            "spawners/jupyter_image: wrong_token_in_the_query_does_not_spoil_the_header",
            "front/direct: token_in_the_query_does_not_reach_the_notebook",
        ],
        "pages have no secret, and what a client says of itself is replaced": [
            "spawners/jupyter_image: pages_have_no_secret",
            "proxy/told: hop_secret_and_user_are_injected",
            "proxy/told: authorization_never_reaches_a_notebook_even_without_a_secret",
        ],
        "no login cookie and no random person with each answer": [
            "spawners/jupyter_image: gateway_is_given_no_login_cookie",
            "spawners/jupyter_image: gateway_comes_in_and_names_the_person",
        ],
        "the gateway's own cookies stay with it": [
            "proxy/told: gateway_cookies_never_reach_an_upstream",
            "end_to_end/access: "
            "notebook_never_sees_the_gateways_cookie_and_the_browser_never_its_secret",
        ],
        "images that are not ours work by their token": [
            "spawners/strange_image: jupyter_server_of_before_runs_in_token_mode",
            "spawners/jupyter_image: strange_image_works_with_our_identity_provider",
            "spawners/docker_spec: strange_image_has_no_secret_in_its_arguments",
            "end_to_end/foreign_image: notebook_of_a_strange_image_works_and_keeps_the_secret",
        ],
        "a login outlives the container": [
            "spawners/jupyter_image_life: login_survives_a_restart_of_the_container",
        ],
        "any host name is served": [
            "end_to_end/host_routing: login_link_reaches_the_notebooks_own_origin"
        ],
    },
    "Frames": {
        "the one directive is set, the others stay": [
            "spawners/jupyter_image: frame_ancestors_alone_are_rewritten",
            "spawners/docker_spec: strange_image_may_be_framed",
        ],
        "a notebook in another site's frame works, saves and computes": [
            "end_to_end/links_framed: signed_links_of_two_courses_open_on_one_page",
            "end_to_end/links_framed: page_of_another_site_frames_nothing",
        ],
    },
    "Activity": {
        "looking at a server is no use of it": [
            "activation/usage: it_is_asked_with_its_secret_and_without_counting_as_use",
        ],
        "a page's polling and open sockets are none; frames, writes and visits are": [
            "activation/culler: open_websockets_and_polling_do_not_keep_it",
            "proxy/signs_of_a_person: what_an_open_page_does_by_itself_is_none",
            "proxy/signs_of_a_person: what_changes_something_is_one",
            "proxy/signs_of_a_person: navigation_is_one",
            "proxy/websockets: only_frames_of_a_person_mark_activity",
        ],
        "work counts, up to a cap, in terminals too": [
            "activation/culler: a_busy_kernel_keeps_it_up_to_the_cap",
            "activation/culler: output_and_programs_of_terminals_keep_it",
        ],
        "polling wakes nothing, and gets a 424; a visit or a program wakes": [
            "activation/access: who_wakes",
            "end_to_end/activation: background_request_of_an_open_page_never_wakes",
            "end_to_end/culling: a_forgotten_tab_is_culled_and_what_works_or_is_used_is_not",
        ],
    },
    "A cold start": {
        "what is slow to import is not there, and all is compiled beforehand": [
            "spawners/jupyter_image_life: start_compiles_nothing_and_imports_nothing_slow",
        ],
        "what is disabled is not imported either": [
            "spawners/jupyter_image_life: start_compiles_nothing_and_imports_nothing_slow",
        ],
        "what was paused goes on as it was": [
            "spawners/conformance: paused_server_goes_on_with_the_next_start",
            "end_to_end/culling: a_paused_notebook_has_its_memory_still",
        ],
    },
}


@pytest.mark.parametrize("tests", lines_of(STARTING_ON_DEMAND, JUPYTER_BEHIND_A_GATEWAY))
def test_each_pitfall_has_its_tests(tests: list[str]) -> None:
    assert tests
    assert not gone(tests)


def test_requests_are_held_for_less_than_any_front_waits() -> None:
    """60 s is what httpd and nginx wait by default, and what ours waits for the gateway is more."""
    held = Settings.model_fields["hold_timeout"].default
    ours = re.search(r"ProxySet connectiontimeout=\d+ timeout=(\d+)", front())
    assert ours
    assert held < 60 <= float(ours[1])


def front() -> str:
    return (ROOT / "httpd" / "httpd.conf").read_text(encoding="utf-8")
