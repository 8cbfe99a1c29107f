{#- The status of each source of the domain. It has the times of the files but no ages, which would
    differ in every run. -#}
{% macro source_health(sources) -%}
select
    source,
    title,
    status,
    rows,
    rejected as rows_rejected,
    fetched_at,
    content_at,
    last_good_at,
    source_sha256,
from {{ sources }}
{%- endmacro %}
