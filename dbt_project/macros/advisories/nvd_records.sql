{#- The columns of CVE records, which the yearly files and the file of recent changes share. -#}
{% macro nvd_records(relation, source) -%}
    select
        cve_id,
        cvss_version,
        -- A rejected record names the ids that replace it in prose only: "is a duplicate of CVE-...".
        nullif(array_to_string(regexp_extract_all(
            regexp_extract(
                case when lower(vuln_status) = 'rejected' then description end,
                '(?i)duplicates? (?:of|to) ([^.]+)', 1
            ),
            'CVE-\d{4}-\d{4,}'
        ), ', '), '') as duplicate_of,
        lower(cvss_severity) as cvss_severity,
        cvss_score,
        cvss_vector,
        coalesce(lower(vuln_status) = 'rejected', false) as is_rejected,
        last_modified_at,
        {{ source_record(source, ['cve_id']) }} as source_record,
        source_sha256,
        source_row,
    from {{ relation }}
{%- endmacro %}
