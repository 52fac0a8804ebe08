"""The attacks on the ways in, each with the tests that carry it out.

A test that is no longer there under its name fails this one: no attack loses its test unnoticed.
"""

from __future__ import annotations

import pytest

from tests.support.named import gone, lines_of

# What is tried → tests, as `folder/module: name`, without the `test_` of either; those of modules
# without a folder are beside this one.
ATTACKS: dict[str, dict[str, list[str]]] = {
    "Signatures": {
        "forged and altered": [
            "web/signed_links: altered_link_opens_nothing",
            "web/signed_links: refusals_do_not_tell_what_was_wrong",
            "web/signed_links: key_of_another_installation_is_good_for_nothing",
            "launch/signers: signer_signs_nothing_that_could_be_another_link",
        ],
        "replayed": [
            "web/signed_links: link_for_one_use_is_good_once",
            "launch/linkkeys: nonce_is_used_at_one_of_two_gateways",
            "launch/tickets: of_many_that_redeem_a_ticket_at_once_one_gets_it",
        ],
        "expired": [
            "web/signed_links: link_is_good_over_and_over_until_it_expires",
            "launch/tickets: expired_ticket_is_not_good",
        ],
        "stripped": [
            "web/signed_links: stripped_link_needs_the_session_of_its_person",
            "web/signed_links: session_of_one_course_opens_no_other_that_wants_signatures",
        ],
    },
    "Other people's notebooks": {
        "another student's URL with one's own session": [
            "end_to_end/access: another_persons_session_gets_nothing",
            "activation/access: another_persons_notebook_looks_like_none",
            "web/deeplinks: id_is_the_first_browsers",
        ],
        "no session, a made-up one, or one of another origin": [
            "end_to_end/access: no_session_gets_nothing",
            "end_to_end/host_routing: one_origins_cookie_opens_no_other",
        ],
        "script in a notebook that somebody else looks at (path routing)": [
            "reading_browser: hostile_notebook_in_a_page_to_read_runs_nothing",
            "reading_browser: nothing_of_a_student_is_open_live_to_their_teacher",
            "end_to_end/people: teacher_reads_and_stops_a_students_notebook",
            "web/read: page_may_neither_run_nor_ask_for_anything",
        ],
        "symbolic links and names that lead out of a space that is read": [
            "web/read: what_is_no_file_of_the_space_is_not_found",
            "spaces/reading: no_symlink_is_followed",
        ],
        "script in a notebook that calls another one, or the gateway (host routing)": [
            "browser: script_in_a_notebook_reaches_neither_another_notebook_nor_the_gateway",
            "browser: own_origin_tells_script_of_no_other_notebook",
            "browser: cookie_that_script_plants_for_all_origins_signs_nobody_in_or_out",
            "end_to_end/host_routing: a_notebooks_own_token_opens_and_wakes_no_other",
        ],
    },
    "Pages of other sites": {
        "POST and reading, by script": [
            "browser: page_of_another_site_neither_reads_nor_changes_nor_connects",
            "end_to_end/access: another_sites_page_gets_nothing",
        ],
        "POST by a form on top, which has the session's cookie": [
            "browser: form_of_another_site_that_is_posted_on_top_changes_nothing",
            "browser: form_of_another_site_puts_back_and_stops_nothing_of_a_student",
            "web/deeplinks: another_sites_page_resets_and_stops_nothing",
        ],
        "WebSockets": [
            "browser: page_of_another_site_neither_reads_nor_changes_nor_connects",
            "end_to_end/access: another_sites_page_gets_nothing",
        ],
        "frames": [
            "end_to_end/links_framed: page_of_another_site_frames_nothing",
            "end_to_end/links_framed: page_of_another_site_within_the_lms_frames_no_hot_notebook",
        ],
    },
    "Shared copies": {
        "sharing, seeing and taking back what is another student's": [
            "web/shares: nobody_shares_anothers_notebook",
            "web/shares: nobody_takes_back_anothers",
        ],
        "POST by another site's page, or another notebook's": [
            "web/shares: another_sites_page_shares_nothing",
            "web/shares: who_shares_sees_it_and_takes_it_back_by_a_button",
            "end_to_end/shares: other_origins_share_nothing_and_a_deleted_students_copies_go",
        ],
        "guessed addresses, and digests that were read": [
            "web/shares: guessed_address_shows_nothing",
            "web/shares: digest_of_a_copy_is_no_address",
            "launch/shares: disk_has_no_secret_and_nobody_else_reads_it",
        ],
        "a hostile notebook": [
            "web/shares: hostile_notebook_in_a_copy_runs_nothing",
            "web/shares: copy_is_shown_under_a_strict_policy",
            "end_to_end/shares: hostile_copy_runs_nothing_and_asks_nobody",
        ],
        "paths that lead out of the space, or of the copies": [
            "web/shares: no_name_leads_out_of_the_space",
            "launch/shares: address_that_was_tampered_with_leads_nowhere",
        ],
    },
    "Requests": {
        "redirects to another site": [
            "requests: gateway_sends_nobody_to_another_site",
            "end_to_end/host_routing: authorize_sends_nobody_elsewhere",
            "web/signed_links: links_lead_nowhere_else",
        ],
        "path traversal in the names of notebooks and courses": [
            "requests: course_is_read_by_its_own_files_alone",
            "requests: links_in_a_courses_files_lead_out_of_it_for_nobody",
            "requests: no_name_in_a_link_leaves_its_folder",
            "requests: no_project_or_notebook_is_called_like_a_path",
            "web/signed_links: name_that_is_no_file_of_the_course_opens_nothing",
        ],
        "header injection": [
            "requests: no_line_end_of_a_request_becomes_one_of_an_answer",
        ],
    },
    "Sessions": {
        "fixation": [
            "requests: session_that_was_planted_before_signing_in_stays_what_it_was",
            "requests: token_in_an_address_signs_nobody_in",
            "web/signed_links: session_that_is_there_does_not_become_somebody_elses",
            "end_to_end/host_routing: entry_ticket_needs_the_browser_that_asked",
        ],
        "an id that a browser is made to give away": [
            "web/deeplinks: link_that_somebody_is_made_to_follow_gives_their_id_to_nobody",
            "web/deeplinks: signed_link_that_somebody_is_made_to_follow_gives_their_id_to_nobody",
        ],
    },
    "What is written": {
        "secrets in logs, metrics and lists": [
            "day: nothing_that_is_written_in_a_day_has_a_secret",
            "web/signed_links: neither_log_nor_page_repeats_a_secret",
            "proxy/access_log: values_with_telling_names_are_redacted",
        ],
    },
}


@pytest.mark.parametrize("tests", lines_of(ATTACKS))
def test_each_attack_has_its_tests(tests: list[str]) -> None:
    assert tests
    assert not gone(tests, "security")
