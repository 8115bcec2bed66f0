# Login shells start from Debian's PATH: put Kale's Python back in front.
case ":$PATH:" in
    *:/opt/kale/bin:*) ;;
    *) PATH=/opt/kale/bin:$PATH ;;
esac
