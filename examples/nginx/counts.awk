# What an access log of nginx says of two versions, as lines for `[services.source.command]`: requests,
# answers of 500 and above as errors, and how many took at most so many seconds. In nginx.conf:
#
#   log_format gate '$status $request_time $upstream_addr';
#   access_log /var/log/nginx/gate.log gate;
#
# awk -v "canaries=10.0.0.7:8080 10.0.0.8:8080" -f counts.awk /var/log/nginx/gate.log
#
# Whatever another address answered is the baseline's.
BEGIN {
    n = split(canaries, list, " ")
    for (i = 1; i <= n; i++) is_canary[list[i]] = 1
    limits = split("0.025 0.05 0.1 0.25 0.5 1 2.5 5", limit, " ")
}
# What no version answered says nothing of any.
NF >= 3 && $NF != "-" {
    # After a second attempt both are named: the last one answered.
    arm = ($NF in is_canary) ? "canary" : "baseline"
    requests[arm]++
    if ($1 >= 500) errors[arm]++
    for (i = 1; i <= limits; i++) if ($2 <= limit[i]) quick[arm, i]++
}
END {
    split("canary baseline", arms, " ")
    for (a = 1; a <= 2; a++) {
        arm = arms[a]
        printf "{\"arm\": \"%s\", \"requests\": %d, \"errors\": %d, \"latency\": {", arm, requests[arm], errors[arm]
        for (i = 1; i <= limits; i++) printf "\"%s\": %d, ", limit[i], quick[arm, i]
        printf "\"+Inf\": %d}}\n", requests[arm]
    }
}
