{#- The sort key of a Debian version: deb_key(a) < deb_key(b) exactly if `dpkg --compare-versions`
    says that a lt b. Each part becomes runs of (non-digits, number). '~' sorts before the end of the
    part, the end before letters, and letters before other characters; a number is encoded as its
    length and its digits. The rules: https://man7.org/linux/man-pages/man7/deb-version.7.html -#}
{% macro deb_part(part) -%}
    array_to_string(list_transform(
        regexp_extract_all(coalesce(nullif({{ part }}, ''), '0'), '[^0-9]+[0-9]*|[0-9]+'),
        lambda run:
            translate(
                regexp_extract(run, '^[^0-9]*'),
                '~+-.:',
                chr(1) || chr(171) || chr(173) || chr(174) || chr(186)
            )
            || chr(2)
            || chr(48 + length(ltrim(regexp_extract(run, '[0-9]*$'), '0'))::int)
            || ltrim(regexp_extract(run, '[0-9]*$'), '0')
    ), '') || chr(2)
{%- endmacro %}

{% macro deb_key(version) -%}
    case
        when {{ version }} is not null then
            {{ deb_part("regexp_extract(" ~ version ~ ", '^([0-9]+):', 1)") }}
            || {{ deb_part("regexp_replace("
                ~ "regexp_replace(" ~ version ~ ", '^[0-9]+:', ''), '-[^-]*$', '')") }}
            || {{ deb_part("regexp_extract(" ~ version ~ ", '-([^-]*)$', 1)") }}
    end
{%- endmacro %}
