{#- What stands of each source of the domain that is being built; its files' times, never ages. -#}
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
